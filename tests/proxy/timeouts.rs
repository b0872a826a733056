//! How long the service may keep us waiting: to connect, before its head, within its answer.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use metering::usage::Outcome;
use tokenweir::proxy::Limits;

use crate::rig::{CHUNKED, Message, Rig, Script, Setup, eventually, ok, post};

/// Short, so that the tests are; what must not happen before it cannot be seen sooner.
const SHORT: Duration = Duration::from_millis(300);

/// The error's code, in the service's own shape.
fn code(answer: &Message) -> String {
    let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(error["error"]["message"].is_string());
    error["error"]["code"].as_str().unwrap().to_owned()
}

fn with(script: &Script, limits: Limits) -> Rig {
    Setup { limits, ..Setup::to(script.addr) }.start()
}

#[test]
fn case_45_a_service_that_never_answers_is_a_504() {
    let (left, hung_up) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send("HTTP/1.1 102 Processing\r\n\r\n"); // no answer yet
        wire.rest();
        left.send(()).unwrap();
    });
    let rig = with(&script, Limits { response_timeout: Some(SHORT), ..Limits::default() });
    for n in 1..=2 {
        let got = rig.send(post("{}")).message();
        assert_eq!((got.status(), code(&got)), (504, "upstream_timeout".to_owned()));
        hung_up.recv_timeout(crate::rig::PATIENCE).expect("the service is not left");
        assert_eq!(script.connections(), n, "the connection is not used again");
    }
    for call in rig.heard.calls(2) {
        assert_eq!((call.usage.stream.outcome, call.usage.request.status), (Outcome::Timeout, 504));
        assert_eq!(call.usage.tokens.output, None, "nobody knows what the service did");
    }
}

#[test]
fn the_answer_is_waited_for_from_the_requests_last_byte() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(ok("{}"));
    });
    let rig = with(&script, Limits { response_timeout: Some(SHORT), ..Limits::default() });
    let mut wire = rig.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nha");
    std::thread::sleep(SHORT * 3);
    wire.send("lf");
    assert_eq!(wire.message().status(), 200, "a slow caller is not the service's fault");
}

#[test]
fn case_44_a_stream_that_falls_silent_is_broken_off_on_both_sides() {
    let (left, hung_up) = channel();
    let script = Script::start(move |mut wire, n| {
        wire.message();
        match n {
            0 => wire.send(format!("{CHUNKED}3\r\none\r\n")),
            1 => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none"),
            _ => wire.send("HTTP/1.1 200 OK\r\n\r\none"),
        }
        wire.rest();
        left.send(()).unwrap();
    });
    let rig = with(&script, Limits { stream_idle_timeout: Some(SHORT), ..Limits::default() });
    for _ in 0..3 {
        let got = rig.send(post("{}")).message();
        assert_eq!((got.status(), &got.body[..], got.broken), (200, &b"one"[..], true));
        hung_up.recv_timeout(crate::rig::PATIENCE).expect("the service is not left");
    }
    for call in rig.heard.calls(3) {
        assert_eq!((call.usage.stream.outcome, call.usage.request.status), (Outcome::Timeout, 200));
    }
}

#[test]
fn case_06_heartbeats_keep_a_stream_alive() {
    const LIMIT: Duration = Duration::from_secs(3);
    const BEATS: usize = 40;
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        for _ in 0..BEATS {
            wire.chunk(": still here\n\n");
            std::thread::sleep(LIMIT / 30);
        }
        wire.chunk("data: [DONE]\n\n");
        wire.chunk("");
    });
    let rig = with(&script, Limits { stream_idle_timeout: Some(LIMIT), ..Limits::default() });
    let got = rig.send(post("{\"stream\":true}")).message();
    assert!(!got.broken, "{} bytes came", got.body.len());
    assert_eq!(got.body, [": still here\n\n".repeat(BEATS).as_bytes(), b"data: [DONE]\n\n"].concat());
    assert_eq!(rig.heard.calls(1)[0].usage.stream.outcome, Outcome::Complete);
}

/// An address whose connections are never completed: its queue is full.
fn mute() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(100));
    let fill: Vec<TcpStream> = std::iter::from_fn(|| connect().ok()).take(100).collect();
    assert!(fill.len() < 100, "the queue does not fill");
    (listener, addr, fill)
}

#[test]
fn a_service_that_cannot_be_connected_to_in_time_is_a_502() {
    let (_listener, addr, _fill) = mute();
    // Takes connections and never says a word: the handshake is a part of connecting.
    let silent = Script::start(|mut wire, _| drop(wire.rest()));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut roots, made.cert.pem().as_bytes()).unwrap();
    for url in [format!("http://{addr}"), format!("https://localhost:{}", silent.addr.port())] {
        let limits = Limits { connect_timeout: SHORT, ..Limits::default() };
        let tls = Some(crate::upstream_tls::trusting(roots.path()));
        let rig = Setup { limits, tls, ..Setup::urls(vec![(None, url.clone())]) }.start();
        let got = rig.send(post("{}")).message();
        assert_eq!((got.status(), code(&got)), (502, "upstream_unreachable".to_owned()), "{url}");
        let usage = &rig.heard.calls(1)[0].usage;
        assert_eq!(usage.stream.outcome, Outcome::UpstreamError);
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)), "it was never sent");
    }
}

/// When the kernel will next probe this connection, in hundredths of a second.
fn probe_due(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
    let mut lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| port(line[1]) == local.port() && port(line[2]) == remote.port())?;
    let (timer, when) = line[5].split_once(':').unwrap();
    (timer == "02").then(|| u64::from_str_radix(when, 16).unwrap())
}

#[test]
fn both_sides_are_probed_when_they_are_silent() {
    let (tell, told) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.message();
        tell.send(wire.tcp.peer_addr().unwrap()).unwrap();
        wire.rest();
    });
    let rig = with(&script, Limits { tcp_keepalive: Duration::from_secs(700), ..Limits::default() });
    let wire = rig.send(post("{}"));
    let (caller, ours) = (wire.tcp.local_addr().unwrap(), told.recv().unwrap());
    for (local, remote) in [(rig.addr, caller), (ours, script.addr)] {
        eventually("the kernel's timer runs", || {
            probe_due(local, remote).is_some_and(|due| (60_000..=70_000).contains(&due))
        });
    }
}

#[test]
fn interim_answers_without_end_are_a_502() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        while std::io::Write::write_all(&mut wire.tcp, flood.as_bytes()).is_ok() {}
    });
    let rig = Setup::to(script.addr).start();
    let got = rig.send(post("{}")).message();
    assert_eq!((got.status(), code(&got)), (502, "upstream_broken".to_owned()));
}
