//! How calls end: the caller leaves, the service breaks off, the process stops. A broken answer is
//! never ended cleanly, what came before the break arrives, and each call settles once.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use metering::usage::{Outcome, Settled};

use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, eventually, ok, post};

/// A service that answers with these bytes and then closes, or resets, the connection.
fn breaking(answer: &'static str, reset: bool) -> (Rig, Script) {
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(answer);
        if reset {
            std::thread::sleep(Duration::from_millis(20)); // a reset overtakes what was sent
            wire.reset();
        }
    });
    (Setup::to(script.addr).start(), script)
}

#[test]
fn case_43_a_broken_answer_is_broken_for_the_caller_too() {
    for (answer, body) in [
        (format!("{CHUNKED}5\r\nhello\r\n"), "hello"),
        (format!("{CHUNKED}5\r\nhello\r\n0\r\n"), "hello"),
        (format!("{CHUNKED}9\r\nhello"), "hello"),
        (format!("{CHUNKED}5\r\nhello\r\nxx"), "hello"),
        (format!("{CHUNKED}5\r\nhello\r\n3\r\nabcX\r\n"), "helloabc"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned(), "hello"),
        (CHUNKED.to_owned(), ""),
    ] {
        let answer: &'static str = answer.leak();
        for reset in [false, true] {
            let (rig, _script) = breaking(answer, reset);
            let got = rig.send(post("{}")).message();
            assert_eq!(got.status(), 200, "{answer}");
            assert!(got.broken, "ended cleanly: {answer}");
            assert_eq!(String::from_utf8_lossy(&got.body), body, "{answer}");
            assert_eq!(rig.heard.calls(1)[0].usage.stream.outcome, Outcome::UpstreamError, "{answer}");
        }
    }
}

#[test]
fn case_43_a_broken_answer_is_broken_for_a_caller_of_http_1_0_too() {
    // Without chunks the end of the connection is the end of the answer: only a reset is a break.
    let old = "POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}";
    for (end, whole) in [("5\r\nhello\r\n", false), ("5\r\nhello\r\n0\r\n\r\n", true)] {
        let (rig, _script) = breaking(format!("{CHUNKED}{end}").leak(), false);
        let mut wire = rig.send(old);
        let mut got = Vec::new();
        let read = std::io::Read::read_to_end(&mut wire.tcp, &mut got);
        if whole {
            assert!(read.is_ok() && got.ends_with(b"hello"));
        } else {
            assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        }
        rig.heard.calls(1);
    }
}

#[test]
fn an_answer_up_to_the_end_of_the_connection_is_whole() {
    let (rig, _script) = breaking("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nhello", false);
    let got = rig.send(post("{}")).message();
    assert!(!got.broken);
    assert_eq!(got.body, b"hello");
    rig.heard.calls(1);
}

#[test]
fn case_55_no_valid_answer_is_a_502() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let (rig, script) = breaking(answer, false);
        for n in 1..=2 {
            let got = rig.send(post("{}")).message();
            assert_eq!(got.status(), 502, "{answer}");
            let error: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
            assert_eq!(error["error"]["code"], "upstream_broken");
            assert_eq!(script.connections(), n, "the connection is not used again: {answer}");
        }
        for call in rig.heard.calls(2) {
            assert_eq!(call.usage.request.status, 502);
        }
    }
}

#[test]
fn no_connection_is_a_502_that_cost_nothing() {
    // Bound, so that nobody else gets the port, and not listening.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    closed.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let rig = Setup::to(closed.local_addr().unwrap().as_socket().unwrap()).start();
    let got = rig.send(post("{}")).message();
    assert_eq!(got.status(), 502);
    assert!(String::from_utf8(got.body).unwrap().contains("upstream_unreachable"));
    let usage = &rig.heard.calls(1)[0].usage;
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
    assert_eq!(usage.request.status, 502);
}

/// A service that sends `first`, then tells when the proxy has hung up on it.
fn watching(first: String) -> (Rig, Receiver<()>) {
    let (left, hung_up) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.head();
        wire.send(&first);
        wire.rest();
        left.send(()).unwrap();
    });
    (Setup::to(script.addr).start(), hung_up)
}

fn one_call(rig: &Rig) -> Settled {
    let call = rig.heard.calls(1).remove(0);
    eventually("the ledger has no open call", || rig.ledger.stats().open == 0);
    eventually("no call is counted as open", || rig.accounts.counters().calls_open() == 0);
    call
}

#[test]
fn a_caller_that_leaves_is_left_at_once_in_each_phase() {
    let head_only = "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\nhalf";
    for (phase, first, request) in [
        ("while it sends", String::new(), head_only.to_owned()),
        ("before the head", String::new(), post("")),
        ("after the head", CHUNKED.to_owned(), post("")),
        ("in the stream", format!("{CHUNKED}5\r\nhello\r\n"), post("")),
        ("in the stream, while it sends", format!("{CHUNKED}5\r\nhello\r\n"), head_only.to_owned()),
    ] {
        for reset in [false, true] {
            let streams = !first.is_empty();
            let (rig, hung_up) = watching(first.clone());
            let mut wire = rig.send(&request);
            if streams {
                assert!(wire.head().starts_with("HTTP/1.1 200"), "{phase}");
            } else {
                eventually("the call is open", || rig.accounts.counters().calls_open() == 1);
            }
            if reset {
                wire.reset()
            } else {
                wire.close()
            }
            hung_up.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the service is not left {phase}"));
            assert_eq!(one_call(&rig).usage.stream.outcome, Outcome::ClientDisconnect, "{phase}");
        }
    }
}

/// The end of the connection is read together with the request, so that nobody waits for an answer by
/// the time the request is looked at.
#[test]
fn a_caller_that_leaves_right_behind_its_request_has_an_event() {
    const CALLERS: usize = 300;
    let service = Script::start(|mut wire, _| drop(wire.rest()));
    let rig = Setup::to(service.addr).start();
    for _ in 0..CALLERS {
        rig.send(post("{}")).close();
    }
    for call in rig.heard.calls(CALLERS) {
        assert_eq!(call.usage.stream.outcome, Outcome::ClientDisconnect);
    }
}

#[test]
fn a_caller_that_leaves_after_the_last_byte_has_had_it_all() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk("data: [DONE]\n\n");
        wire.chunk("");
        wire.closed();
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send(post("{}"));
    let got = wire.message();
    assert!(!got.broken);
    wire.reset();
    assert_eq!(one_call(&rig).usage.stream.outcome, Outcome::Complete);
}

#[test]
fn draining_lets_streams_finish_and_takes_no_more() {
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let script = Script::start(move |mut wire, n| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk("one");
        if n == 0 {
            gone.lock().unwrap().recv().unwrap();
        }
        wire.chunk("two");
        wire.chunk("");
    });
    let mut rig = Setup::to(script.addr).start();
    let (mut idle, mut late) = (rig.connect(), rig.connect());
    let mut wire = rig.send(post("{}"));
    wire.head();
    assert_eq!(wire.read_chunk().unwrap(), b"one");
    rig.running().drain();
    eventually("the port is closed", || std::net::TcpStream::connect(rig.addr).is_err());
    // Longer than any connection stays open after the drain began: this one does as long as calls run.
    std::thread::sleep(Duration::from_millis(600));
    late.send(post("{}"));
    let answer = late.message();
    assert_eq!((answer.status(), answer.fields("connection")), (200, vec!["close"]));
    late.closed();
    go.send(()).unwrap();
    idle.closed();
    assert_eq!(wire.read_chunk().unwrap(), b"two");
    assert_eq!(wire.read_chunk().unwrap(), b"");
    wire.closed();
    rig.running.take().unwrap().join();
    assert_eq!(rig.heard.calls(2).len(), 2);
}

#[test]
fn what_does_not_finish_in_time_is_broken_off() {
    for (drain_timeout, second_signal) in [(Duration::from_millis(50), false), (PATIENCE * 10, true)] {
        let script = Script::start(|mut wire, _| {
            wire.message();
            wire.send(CHUNKED);
            wire.chunk("one");
            wire.rest();
        });
        let mut rig = Setup { drain_timeout, ..Setup::to(script.addr) }.start();
        let mut wire = rig.send(post("{}"));
        wire.head();
        wire.read_chunk().unwrap();
        rig.running().drain();
        if second_signal {
            rig.running().end();
        }
        assert_eq!(wire.read_chunk(), None, "broken, not ended");
        rig.running.take().unwrap().join();
        assert_eq!(one_call(&rig).usage.stream.outcome, Outcome::Shutdown);
    }
}

#[test]
fn a_full_ledger_lets_calls_through_and_sums_them() {
    let script = Script::start(|mut wire, n| {
        wire.message();
        if n == 0 {
            wire.send(CHUNKED);
            wire.chunk("hold");
            wire.rest();
        } else {
            wire.send(ok("{}"));
        }
    });
    for reject_when_full in [false, true] {
        let rig = Setup { slots: 1, reject_when_full, ..Setup::to(script.addr) }.start();
        let holder = held(&rig, script.connections());
        let got = rig.send(post("{}")).message();
        if reject_when_full {
            assert_eq!(got.status(), 503);
            assert_eq!(got.fields("retry-after"), ["1"]);
        } else {
            assert_eq!(got.status(), 200);
            rig.heard.calls(1);
            assert_eq!(rig.heard.summed(), 1);
        }
        if let Some(holder) = holder {
            holder.close();
        }
    }
}

/// Takes the ledger's only place and keeps it.
fn held(rig: &Rig, connections: usize) -> Option<Wire> {
    if connections > 0 {
        // The script holds only its first connection; take the place in the ledger itself.
        std::mem::forget(rig.ledger.reserve());
        return None;
    }
    let mut wire = rig.send(post("{}"));
    wire.head();
    Some(wire)
}
