//! How a side ended that was cut short: by the end of the process, by its caller, or since its caller made no progress.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::rig::Rig;
use super::support::auditor::spooled;
use super::support::eventually;
use super::support::fake_service::{STREAM_HEAD, Script, write_chunk};
use super::support::http::{connect, read_chunk, read_head};
use super::support::sidecar::Sidecar;

/// A route that has usage events, and one that has none.
const PATHS: [&str; 2] = ["/openai/deployments/d/chat/completions", "/openai/threads/t/messages"];

/// Starts a sidecar, and a call on each route, of which both sides have begun and neither ends.
fn begin() -> (Rig, Sidecar, [BufReader<TcpStream>; 2]) {
    let service = Script::start(|mut wire, _| {
        wire.head();
        wire.send(STREAM_HEAD);
        wire.chunk("begun");
        wire.rest();
    });
    let rig = Rig::new(service.addr);
    let sidecar = rig.start(&["--drain-timeout", "0ms"]);
    let calls = PATHS.map(|path| {
        let mut call = connect(sidecar.addr);
        let head = format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n{{\"mess");
        call.get_mut().write_all(head.as_bytes()).unwrap();
        assert_eq!(read_head(&mut call).unwrap().unwrap().status(), 200);
        assert_eq!(read_chunk(&mut call).unwrap().unwrap(), b"begun");
        call
    });
    (rig, sidecar, calls)
}

/// How each side ended, as its last part says it: the record of its usage, the side, and the outcome.
fn ends(rig: &Rig) -> Vec<[String; 3]> {
    let parts = spooled(&rig.ledger()).into_iter().map(|mut event| event["data"].take());
    let last = parts.filter(|data| data["last"] == true);
    let text = |data: &Value, name: &str| data[name].as_str().unwrap().to_owned();
    let mut ends: Vec<_> =
        last.map(|data| ["usage", "side", "outcome"].map(|name| text(&data, name))).collect();
    ends.sort();
    ends
}

/// The requests and the responses of both calls ended in these ways.
fn of_both(request: &str, response: &str) -> Vec<[String; 3]> {
    let sides = [("request", request), ("response", response)];
    let ends = ["event", "none"]
        .into_iter()
        .flat_map(|usage| sides.map(|(side, outcome)| [usage, side, outcome].map(str::to_owned)));
    ends.collect()
}

/// A connection whose client has room for little, so that it soon takes no more.
fn connect_small(addr: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&addr.into()).unwrap();
    TcpStream::from(socket)
}

#[test]
fn what_the_end_of_the_process_cuts_says_so() {
    let (rig, sidecar, calls) = begin();
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    drop(calls);
    assert_eq!(ends(&rig), of_both("shutdown", "shutdown"));
}

#[test]
fn what_its_caller_cuts_says_so() {
    let (rig, sidecar, calls) = begin();
    drop(calls);
    eventually("the ends to be stored", || ends(&rig).len() == 4);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(ends(&rig), of_both("client_disconnect", "client_disconnect"));
}

#[test]
fn what_a_caller_does_not_take_ends_as_its_call_does() {
    let service = Script::start(|mut wire, _| {
        wire.message();
        wire.send(STREAM_HEAD);
        // More than all buffers on the way hold.
        let _ = (0..4_096).try_for_each(|_| write_chunk(&mut wire.tcp, &[b'x'; 16 << 10]));
    });
    let rig = Rig::new(service.addr);
    let sidecar = rig.start(&["--caller-idle-timeout", "500ms"]);
    let calls = PATHS.map(|path| {
        let mut call = connect_small(sidecar.addr);
        let request = format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{{}}");
        call.write_all(request.as_bytes()).unwrap();
        call
    });
    eventually("the ends to be stored", || ends(&rig).len() == 4);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(ends(&rig), of_both("complete", "timeout"));
    let usage = rig.usage_events().remove(0);
    assert_eq!(usage["data"]["stream"]["outcome"], "timeout");
    drop(calls);
}
