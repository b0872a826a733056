//! `--on-client-disconnect`: what becomes of an answer whose caller has left.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use metering::usage::{Outcome, Quality, Source, Usage};
use tokenweir::proxy::{DrainBounds, Policy};

use crate::certs::{Authority, Files};
use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, eventually, post};
use crate::upstream_tls::trusting;

const ASKS: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
const FIRST: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":7,\"total_tokens\":19}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

const BOUNDS: DrainBounds = DrainBounds { time: PATIENCE, bytes: 1 << 20, calls: 64 };

/// How long the proxy takes for a connection and its handshake, unless told otherwise.
const CONNECT: Duration = Duration::from_secs(10);

fn setup(script: &Script, drain: DrainBounds) -> Setup {
    let policy = Policy { drain: Some(drain), ..Policy::default() };
    Setup { policy, ..Setup::to(script.addr) }
}

/// What the service does next.
enum Do {
    Chunk(&'static str),
    End,
}

/// A service whose answers begin with [`FIRST`] and go on as it is told; it tells when it is left.
struct Told {
    script: Script,
    go: Sender<Do>,
    /// It has a whole request.
    asked: Receiver<()>,
    left: Receiver<()>,
}

/// `head`: it answers before it is told anything.
fn told(head: bool) -> Told {
    let (go, orders) = channel();
    let (gone, left) = channel();
    let (has, asked) = channel();
    let orders = Mutex::new(orders);
    let script = Script::start(move |mut wire, _| {
        wire.message();
        has.send(()).unwrap();
        if head {
            wire.send(CHUNKED);
            wire.chunk(FIRST);
        }
        let mut answered = head;
        let orders = orders.lock().unwrap();
        loop {
            match orders.recv_timeout(Duration::from_millis(5)) {
                Ok(Do::Chunk(data)) => {
                    if !std::mem::replace(&mut answered, true) {
                        wire.send(CHUNKED);
                    }
                    wire.chunk(data);
                }
                Ok(Do::End) => return wire.chunk(""),
                Err(_) if is_left(&wire) => return gone.send(()).unwrap(),
                Err(_) => {}
            }
        }
    });
    Told { script, go, asked, left }
}

/// The proxy has closed.
fn is_left(wire: &Wire) -> bool {
    wire.tcp.set_nonblocking(true).unwrap();
    let peeked = wire.tcp.peek(&mut [0]);
    wire.tcp.set_nonblocking(false).unwrap();
    match peeked {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn usage(rig: &Rig) -> Usage {
    rig.heard.calls(1).remove(0).usage
}

/// Sends a request, reads the first event and leaves.
fn leave_in_mid_stream(rig: &Rig) {
    let mut wire = rig.send(post(ASKS));
    wire.head();
    wire.read_chunks(FIRST.len());
    wire.close();
}

fn draining(rig: &Rig) -> usize {
    rig.accounts.counters().drains_running.load(Ordering::SeqCst)
}

#[test]
fn case_46_a_caller_that_leaves_after_the_end_marker_has_had_it_all() {
    for drain in [None, Some(BOUNDS)] {
        let service = told(true);
        let policy = Policy { drain, ..Policy::default() };
        let rig = Setup { policy, ..Setup::to(service.script.addr) }.start();
        let mut wire = rig.send(post(ASKS));
        wire.head();
        service.go.send(Do::Chunk(DONE)).unwrap();
        wire.read_chunks(FIRST.len() + DONE.len());
        wire.close();
        service.left.recv_timeout(PATIENCE).expect("nothing is read on");
        let usage = usage(&rig);
        assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::Complete, false));
    }
}

#[test]
fn case_47_under_abort_the_service_is_left_at_once() {
    let service = told(true);
    let rig = Setup::to(service.script.addr).start();
    leave_in_mid_stream(&rig);
    service.left.recv_timeout(PATIENCE).expect("the service is left");
    let usage = usage(&rig);
    assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, false));
    assert_eq!(usage.accounting.output_quality, Quality::LowerBound);
}

#[test]
fn case_48_under_drain_the_answer_is_read_to_its_usage_and_the_caller_is_free() {
    let service = told(true);
    let rig = setup(&service.script, BOUNDS).start();
    let mut wire = rig.send(post(ASKS));
    wire.head();
    wire.read_chunks(FIRST.len());
    wire.tcp.shutdown(std::net::Shutdown::Write).unwrap();
    wire.rest(); // the proxy closes its side, although the service streams on
    eventually("it is read on", || draining(&rig) == 1);
    assert_eq!(rig.accounts.counters().calls_open(), 1);
    for piece in [FIRST, USAGE, DONE] {
        service.go.send(Do::Chunk(piece)).unwrap();
    }
    service.go.send(Do::End).unwrap();
    let usage = usage(&rig);
    assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, true));
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(12), Some(7)));
    assert_eq!(usage.accounting.output_source, Source::Reported);
    assert_eq!(usage.accounting.output_quality, Quality::Exact, "{:?}", usage.accounting.reasons);
    eventually("the place is free", || draining(&rig) == 0);
    assert_eq!(rig.accounts.counters().drains_finished.load(Ordering::SeqCst), 1);
}

#[test]
fn case_48_each_bound_ends_it_as_abort_does_and_is_named() {
    let time = Duration::from_millis(100);
    for (bounds, reason) in [
        (DrainBounds { time, ..BOUNDS }, "output:drain_timeout"),
        (DrainBounds { bytes: 10, ..BOUNDS }, "output:drain_bytes"),
        (DrainBounds { calls: 0, ..BOUNDS }, "output:drain_calls"),
    ] {
        let service = told(true);
        let rig = setup(&service.script, bounds).start();
        leave_in_mid_stream(&rig);
        if reason == "output:drain_bytes" {
            service.go.send(Do::Chunk(FIRST)).unwrap();
        }
        service.left.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not left: {reason}"));
        let usage = usage(&rig);
        assert_eq!(usage.stream.outcome, Outcome::ClientDisconnect, "{reason}");
        assert_eq!(usage.accounting.drained, bounds.calls > 0, "{reason}");
        let reasons = usage.accounting.reasons.iter().filter(|known| known.starts_with("output:"));
        assert_eq!(reasons.collect::<Vec<_>>(), ["output:client_disconnect", reason]);
        assert_eq!(usage.accounting.output_quality, Quality::LowerBound);
        eventually("the place is free", || draining(&rig) == 0);
        assert_eq!(rig.accounts.counters().drains_cut.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn case_49_a_caller_that_leaves_before_the_answer() {
    // Under abort the service is left.
    let service = told(false);
    let rig = Setup::to(service.script.addr).start();
    let wire = rig.send(post(ASKS));
    service.asked.recv_timeout(PATIENCE).expect("the service has it");
    wire.close();
    service.left.recv_timeout(PATIENCE).expect("the service is left");
    assert_eq!(usage(&rig).stream.outcome, Outcome::ClientDisconnect);

    // Under drain its answer is waited for.
    let service = told(false);
    let rig = setup(&service.script, BOUNDS).start();
    let wire = rig.send(post(ASKS));
    service.asked.recv_timeout(PATIENCE).expect("the service has it");
    wire.close();
    eventually("it is waited for", || draining(&rig) == 1);
    for piece in [FIRST, USAGE, DONE] {
        service.go.send(Do::Chunk(piece)).unwrap();
    }
    service.go.send(Do::End).unwrap();
    let drained = usage(&rig);
    assert_eq!((drained.stream.outcome, drained.accounting.drained), (Outcome::ClientDisconnect, true));
    assert_eq!((drained.request.status, drained.tokens.output), (200, Some(7)));

    // And for no longer than the bound.
    let service = told(false);
    let rig = setup(&service.script, DrainBounds { time: Duration::from_millis(100), ..BOUNDS }).start();
    let wire = rig.send(post(ASKS));
    service.asked.recv_timeout(PATIENCE).expect("the service has it");
    wire.close();
    service.left.recv_timeout(PATIENCE).expect("the service is left");
    let usage = usage(&rig);
    assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, true));
    assert!(usage.accounting.reasons.contains(&"output:drain_timeout".into()), "{:?}", usage.accounting);
}

#[test]
fn a_process_that_stops_waits_for_what_is_read_on_and_then_breaks_it_off() {
    for finishes in [true, false] {
        let service = told(true);
        let drain_timeout = if finishes { PATIENCE } else { Duration::from_millis(300) };
        let mut rig = Setup { drain_timeout, ..setup(&service.script, BOUNDS) }.start();
        leave_in_mid_stream(&rig);
        eventually("it is read on", || draining(&rig) == 1);
        rig.running().drain();
        if finishes {
            eventually("the port is closed", || std::net::TcpStream::connect(rig.addr).is_err());
            for piece in [USAGE, DONE] {
                service.go.send(Do::Chunk(piece)).unwrap();
            }
            service.go.send(Do::End).unwrap();
        }
        rig.running.take().unwrap().join();
        let usage = usage(&rig);
        let expected = if finishes { Outcome::ClientDisconnect } else { Outcome::Shutdown };
        assert_eq!((usage.stream.outcome, usage.accounting.drained), (expected, true));
        assert_eq!(usage.tokens.output == Some(7), finishes);
    }
}

/// Nobody reads on what has no usage: a failed call, or one that makes no event.
#[test]
fn what_tells_nothing_is_not_read_on() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
        wire.rest();
    });
    let rig = setup(&script, BOUNDS).start();
    let mut wire = rig.send(post(ASKS));
    wire.head();
    wire.read_chunk();
    wire.close();
    let usage = usage(&rig);
    assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, false));
    assert_eq!(draining(&rig), 0);
}

/// A service that takes connections and says nothing: no TLS comes about. Under inject the whole
/// request is with us by then.
#[test]
fn what_never_left_costs_nothing_and_is_not_sent_for_nobody() {
    let files = Files::new();
    let tls = trusting(&files.put("roots.pem", &Authority::new("service").pem));
    for drain in [None, Some(BOUNDS)] {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", silent.local_addr().unwrap().port());
        let policy = Policy { drain, inject_usage: true, inspect_bytes_max: 1 << 20, ..Policy::default() };
        let rig = Setup { policy, tls: Some(tls.clone()), ..Setup::urls(vec![(None, url)]) }.start();
        let asks = post(r#"{"model":"m","stream":true,"messages":[]}"#);
        let wire = rig.send(asks.replacen("\r\n", "\r\nContent-Type: application/json\r\n", 1));
        let (mut tcp, _) = silent.accept().unwrap();
        wire.close();
        let closed = Instant::now();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::copy(&mut tcp, &mut std::io::sink()).expect("the handshake is given up");
        assert!(closed.elapsed() < CONNECT / 2, "it is given up because the caller left, not for its time");
        let usage = usage(&rig);
        assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, false));
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)), "{drain:?}");
        assert_eq!(usage.accounting.input_quality, Quality::Exact);
        assert_eq!(draining(&rig), 0);
    }
}
