//! How a side ended that was cut short: by the end of the process, or by its caller.

use std::io::{BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::rig::Rig;
use super::support::auditor::spooled;
use super::support::eventually;
use super::support::fake_service::{STREAM_HEAD, Script};
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

/// Both sides of both calls ended in this way.
fn all(outcome: &str) -> Vec<[String; 3]> {
    let sides =
        ["event", "none"].into_iter().flat_map(|usage| ["request", "response"].map(|side| (usage, side)));
    sides.map(|(usage, side)| [usage, side, outcome].map(str::to_owned)).collect()
}

#[test]
fn what_the_end_of_the_process_cuts_says_so() {
    let (rig, sidecar, calls) = begin();
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    drop(calls);
    assert_eq!(ends(&rig), all("shutdown"));
}

#[test]
fn what_its_caller_cuts_says_so() {
    let (rig, sidecar, calls) = begin();
    drop(calls);
    eventually("the ends to be stored", || ends(&rig).len() == 4);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(ends(&rig), all("client_disconnect"));
}
