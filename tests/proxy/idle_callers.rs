//! Callers that make no progress (`--caller-idle-timeout`): what is ended, what is not, and what is said of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use metering::usage::{Outcome, Usage};
use tokenweir::proxy::tls::{ListenFiles, ListenTls, NamedFile};
use tokenweir::proxy::{DrainBounds, Limit, Limits, Policy};

use crate::certs::{Authority, Files, Secured, client};
use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, eventually, ok, post};

/// Short, so that the tests of what is ended are.
const SHORT: Duration = Duration::from_millis(300);

/// Long enough for a thread to be late on a busy machine; what moves does so in a tenth of this.
const LONG: Duration = Duration::from_secs(3);

/// What a slow caller has of a receive buffer: little, so that its TCP says early that it takes more.
const LITTLE_BYTES: usize = 4 << 10;

fn setup(script: &Script, timeout: Duration) -> Setup {
    let limits = Limits { caller_idle_timeout: Some(timeout), ..Limits::default() };
    Setup { limits, ..Setup::to(script.addr) }
}

/// The only call: it is no caller's doing, and says what was waited for.
fn cut(rig: &Rig) -> Usage {
    let usage = rig.heard.calls(1).remove(0).usage;
    assert_eq!(usage.stream.outcome, Outcome::Timeout, "{:?}", usage.accounting.reasons);
    assert_eq!(rig.met(Limit::CallerIdleTimeout), 1);
    usage
}

fn has(usage: &Usage, reason: &str) -> bool {
    usage.accounting.reasons.iter().any(|found| found == reason)
}

/// A connection that has room for little.
fn small(rig: &Rig) -> Wire {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(LITTLE_BYTES).unwrap();
    socket.connect(&rig.addr.into()).unwrap();
    Wire::new(TcpStream::from(socket))
}

/// A service that sends an answer of so many bytes behind this head, in chunks if it is to; it tells when
/// it is left before the end.
fn large(head: &'static str, bytes: usize) -> (Script, Receiver<bool>) {
    let (gone, left) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.message();
        let (chunked, piece) = (head == CHUNKED, vec![b'x'; 16 << 10]);
        let mut send = |bytes: &[u8]| wire.tcp.write_all(bytes);
        let all = || -> std::io::Result<()> {
            send(head.as_bytes())?;
            for _ in 0..bytes / piece.len() {
                if chunked {
                    send(format!("{:x}\r\n", piece.len()).as_bytes())?;
                }
                send(&piece)?;
                if chunked {
                    send(b"\r\n")?;
                }
            }
            if chunked { send(b"0\r\n\r\n") } else { Ok(()) }
        }();
        let _ = gone.send(all.is_err());
    });
    (script, left)
}

/// The head of a chunked answer that is the last one of its connection: a call is not sent on one that its service is
/// about to close.
const CHUNKED_LAST: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 67108864\r\n\r\n";
const ANSWER_BYTES: usize = 64 << 20;

const HALVES: [&str; 2] = [
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nha",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nha\r\n4",
];

#[test]
fn a_caller_that_stalls_within_its_request_gets_408_and_the_service_is_left() {
    for half in HALVES {
        for policy in [
            Policy::default(),
            Policy { inject_usage: true, inspect_bytes_max: 1 << 20, ..Policy::default() },
        ] {
            let script = Script::start(|mut wire, _| {
                wire.rest();
            });
            let rig = Setup { policy, ..setup(&script, SHORT) }.start();
            let began = Instant::now();
            let mut wire = rig.send(half);
            let got = wire.message();
            assert!(began.elapsed() >= SHORT, "too early");
            assert_eq!((got.status(), got.fields("connection")), (408, vec!["close"]), "{}", got.head);
            wire.closed();
            let usage = cut(&rig);
            assert_eq!(usage.request.status, 408);
            assert!(usage.tokens.input.is_none_or(|tokens| tokens == 0), "{:?}", usage.tokens);
        }
    }
}

#[test]
fn a_caller_that_stalls_within_its_answer_is_cut_off_on_both_sides() {
    for head in [CHUNKED, LENGTH] {
        let (script, left) = large(head, ANSWER_BYTES);
        let rig = setup(&script, SHORT).start();
        let mut wire = small(&rig);
        wire.send(post("{}"));
        assert!(!wire.take(1000).is_empty());
        assert!(left.recv_timeout(PATIENCE).unwrap(), "the service is not left");
        let usage = cut(&rig);
        assert!(has(&usage, "output:caller_idle") && has(&usage, "output:timeout"), "{:?}", usage.accounting);
        // What is not read is thrown away: it would be kept for long.
        let mut rest = Vec::new();
        let broken = wire.tcp.read_to_end(&mut rest);
        assert!(broken.is_err() && rest.len() < ANSWER_BYTES);
    }
}

#[test]
fn an_answer_whose_caller_stalls_is_read_on_where_that_is_wanted() {
    let (script, left) = large(CHUNKED, 1 << 20);
    let drain = DrainBounds { time: PATIENCE, bytes: 64 << 20, calls: 4 };
    let policy = Policy { drain: Some(drain), ..Policy::default() };
    let rig = Setup { policy, ..setup(&script, SHORT) }.start();
    let mut wire = small(&rig);
    wire.send(post("{}"));
    assert!(!wire.take(1000).is_empty());
    assert!(!left.recv_timeout(PATIENCE).unwrap(), "it is read to its end");
    let usage = cut(&rig);
    assert!(usage.accounting.drained);
}

/// Over TLS what the caller takes is seen under the records.
#[test]
fn a_caller_that_stalls_is_cut_off_over_tls_too() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let (cert, key) = files.put_pair(&authority.issue(&["localhost"]));
    let tls = ListenTls::load(ListenFiles {
        cert: NamedFile::new("listen-cert-file", cert),
        key: NamedFile::new("listen-key-file", key),
        client_ca: None,
    })
    .unwrap();
    for head in [CHUNKED, LENGTH] {
        let (script, left) = large(head, ANSWER_BYTES);
        let rig = Setup { listen_tls: Some(tls.clone()), ..setup(&script, SHORT) }.start();
        let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
        caller.0.write_all(post("{}").as_bytes()).unwrap();
        caller.0.read_exact(&mut [0; 1000]).unwrap();
        assert!(left.recv_timeout(PATIENCE).unwrap(), "the service is not left");
        cut(&rig);
    }
    let script = Script::start(|mut wire, _| drop(wire.rest()));
    let rig = Setup { listen_tls: Some(tls), ..setup(&script, SHORT) }.start();
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    caller.0.write_all(HALVES[0].as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = caller.0.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    cut(&rig);
}

/// Whoever moves stays, however slowly: longer than the time in all, a little in each tenth of it.
#[test]
fn a_caller_that_trickles_its_request_stays() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(ok("{}"));
    });
    for half in HALVES {
        let rig = setup(&script, LONG).start();
        let mut wire = rig.send(half);
        let chunked = half.contains("chunked");
        // In a chunk's size line nothing of a body comes, but bytes do.
        let trickled =
            if chunked { format!("{}\r\nhalf\r\n0\r\n\r\n", ";x".repeat(10)) } else { "lf".to_owned() };
        let pause = LONG * 14 / 10 / trickled.len() as u32;
        for byte in trickled.bytes() {
            std::thread::sleep(pause.min(LONG * 7 / 10));
            wire.send([byte]);
        }
        assert_eq!(wire.message().status(), 200);
        assert_eq!(rig.heard.calls(1)[0].usage.stream.outcome, Outcome::Complete);
        assert_eq!(rig.met(Limit::CallerIdleTimeout), 0);
    }
}

#[test]
fn a_caller_that_reads_slowly_stays() {
    for head in [CHUNKED, LENGTH] {
        let (script, _left) = large(head, ANSWER_BYTES);
        let rig = setup(&script, LONG).start();
        let mut wire = small(&rig);
        wire.send(post("{}"));
        let began = Instant::now();
        while began.elapsed() < LONG * 14 / 10 {
            std::thread::sleep(LONG / 30);
            assert!(wire.tcp.read(&mut [0; LITTLE_BYTES]).unwrap() > 0);
        }
        assert_eq!(rig.met(Limit::CallerIdleTimeout), 0);
        wire.close();
        assert_eq!(
            rig.heard.calls(1)[0].usage.stream.outcome,
            Outcome::ClientDisconnect,
            "it left by itself"
        );
    }
}

/// Nobody waits for the caller: not before the answer, not within it, and not while the service takes no
/// more of a request.
#[test]
fn the_services_own_time_does_not_count() {
    let script = Script::start(|mut wire, n| {
        if n == 2 {
            std::thread::sleep(SHORT * 3); // with nothing read
        }
        wire.message();
        std::thread::sleep(SHORT * 3);
        wire.send(CHUNKED_LAST);
        wire.chunk("one");
        std::thread::sleep(SHORT * 3);
        wire.chunk("two");
        wire.chunk("");
    });
    let rig = setup(&script, SHORT).start();
    let large = "x".repeat(16 << 20);
    for body in ["{}", "{}", &large] {
        let mut wire = rig.connect();
        let mut writer = wire.tcp.try_clone().unwrap();
        let request = post(body);
        let sender = std::thread::spawn(move || writer.write_all(request.as_bytes()).unwrap());
        assert_eq!(wire.message().body, b"onetwo");
        sender.join().unwrap();
    }
    for call in rig.heard.calls(3) {
        assert_eq!(call.usage.stream.outcome, Outcome::UpstreamEof, "no [DONE] came, and nothing was cut");
    }
    assert_eq!(rig.met(Limit::CallerIdleTimeout), 0);
}

#[test]
fn a_tunnel_is_not_timed() {
    let script = Script::start(|mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let piece = vec![b'x'; 1 << 20];
        while wire.tcp.write_all(&piece).is_ok() {}
    });
    let rig = setup(&script, SHORT).start();
    let mut wire = small(&rig);
    wire.send(
        "GET /openai/realtime HTTP/1.1\r\nHost: gw\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(wire.head().starts_with("HTTP/1.1 101 "));
    std::thread::sleep(SHORT * 4);
    assert!(!wire.take(100_000).is_empty());
    assert_eq!(rig.met(Limit::CallerIdleTimeout), 0);
    wire.close();
    rig.heard.calls(1);
}

#[test]
fn without_the_setting_nobody_is_timed() {
    let (script, _left) = large(CHUNKED, ANSWER_BYTES);
    let rig = Setup::to(script.addr).start();
    let mut wire = small(&rig);
    wire.send(post("{}"));
    let mut half = rig.send(HALVES[0]);
    std::thread::sleep(SHORT * 4);
    assert!(!wire.take(1000).is_empty());
    assert_eq!((rig.heard.summed(), rig.met(Limit::CallerIdleTimeout)), (0, 0));
    half.send("lf");
    wire.close();
    half.close();
    eventually("both are over", || rig.accounts.counters().calls_open() == 0);
}
