//! Connections to the service: reused, never trusted, and no POST sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use crate::rig::{Script, Setup, eventually, ok, post};

#[test]
fn one_connection_serves_requests_in_turn() {
    let script = Script::start(|mut wire, _| {
        while !wire.message().head.is_empty() {
            wire.send(ok("{}"));
        }
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.connect();
    for n in 0..50 {
        wire.send(post(&"x".repeat(n)));
        assert_eq!(wire.message().body, b"{}");
    }
    for _ in 0..50 {
        assert_eq!(rig.send(post("{}")).message().body, b"{}");
    }
    assert_eq!(script.connections(), 1);
    rig.heard.calls(100);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let script = Script::answering(|message, wire| wire.send(ok(&String::from_utf8(message.body).unwrap())));
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send(["one", "two", "three"].map(post).concat());
    for body in ["one", "two", "three"] {
        assert_eq!(wire.message().body, body.as_bytes());
    }
}

#[test]
fn a_connection_that_the_service_closed_is_not_used_again() {
    let (close, closed) = channel::<()>();
    let script = Script::start(move |mut wire, n| {
        wire.message();
        wire.send(ok(&n.to_string()));
        if n % 2 == 0 {
            wire.close()
        } else {
            wire.reset()
        }
        close.send(()).unwrap();
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.connect();
    for n in 0..20 {
        wire.send(post("{}"));
        let answer = wire.message();
        assert_eq!((answer.status(), answer.body), (200, n.to_string().into_bytes()));
        closed.recv().unwrap(); // from here on it is the proxy's fault to use the connection
    }
    rig.heard.calls(20);
}

#[test]
fn a_connection_that_says_close_or_holds_more_than_its_answer_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let script = Script::start(move |mut wire, _| {
            wire.message();
            wire.send(answer);
            wire.closed();
        });
        let rig = Setup::to(script.addr).start();
        for _ in 0..3 {
            assert_eq!(rig.send(post("{}")).message().body, b"ok", "{answer}");
        }
        assert_eq!(script.connections(), 3, "{answer}");
    }
}

#[test]
fn case_61_a_request_that_was_written_is_never_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let script = Script::start(move |mut wire, _| {
        wire.message();
        counter.fetch_add(1, Ordering::SeqCst);
        wire.send(ok("{}"));
        if !wire.message().head.is_empty() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        // The second request on each connection gets no answer.
    });
    let rig = Setup::to(script.addr).start();
    for round in 1..=10 {
        assert_eq!(rig.send(post("{}")).message().status(), 200);
        let refused = rig.send(post("{}")).message();
        assert_eq!(refused.status(), 502);
        assert!(String::from_utf8(refused.body).unwrap().contains("upstream_broken"));
        assert_eq!(requests.load(Ordering::SeqCst), 2 * round);
        assert_eq!(script.connections(), round);
    }
    assert_eq!(rig.heard.calls(20).iter().filter(|call| call.usage.request.status == 502).count(), 10);
}

#[test]
fn idle_connections_are_watched() {
    let (end, ended) = channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(ok("{}"));
        ended.lock().unwrap().recv().unwrap();
        // Closes our side only: the proxy must close its own without being asked for anything.
        wire.tcp.shutdown(std::net::Shutdown::Write).unwrap();
        wire.closed();
        wire.tcp.shutdown(std::net::Shutdown::Both).ok();
        CLOSED.fetch_add(1, Ordering::SeqCst);
    });
    static CLOSED: AtomicUsize = AtomicUsize::new(0);
    let rig = Setup::to(script.addr).start();
    assert_eq!(rig.send(post("{}")).message().status(), 200);
    end.send(()).unwrap();
    eventually("the idle connection is closed", || CLOSED.load(Ordering::SeqCst) == 1);
}

#[test]
fn case_56_an_early_answer_reaches_a_caller_that_is_still_sending() {
    for reset in [false, true] {
        let script = Script::start(move |mut wire, _| {
            wire.head();
            wire.take(1000);
            wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge");
            // Closed with unread data, the kernel resets it.
            if reset { wire.reset() } else { wire.close() }
        });
        let rig = Setup::to(script.addr).start();
        for _ in 0..10 {
            let length = 3_000_000;
            let mut wire = rig.send(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\n"
            ));
            let mut sender = crate::rig::Wire::new(wire.tcp.try_clone().unwrap());
            let sending = std::thread::spawn(move || {
                let _ = std::io::Write::write_all(&mut sender.tcp, &vec![0; length]);
            });
            let answer = wire.message();
            sending.join().unwrap();
            if answer.status() == 413 {
                assert_eq!(answer.body, b"large");
            } else {
                // A reset may overtake the answer between the service and us.
                assert!(reset && answer.status() == 502, "{answer:?}");
            }
        }
        rig.heard.calls(10);
    }
}
