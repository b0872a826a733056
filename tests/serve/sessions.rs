//! Sessions over WebSockets through the whole program: what its event, its metrics and its report say
//! of one that completed, one that was crashed and one that was drained.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{connect, get, read_head};
use super::sidecar::{Sidecar, binary, usage_events, verified, wait_for};
use super::upstream;

const HANDSHAKE: &str = "GET /openai/v1/realtime?model=rt HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const TEXT: &[u8] = b"\x81\x05hello";
const CLOSE: &[u8] = b"\x88\x02\x03\xe8";
const MASKED_CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// A service that greets, and answers a close frame with one.
fn service() -> SocketAddr {
    upstream::start(Arc::new(|_, socket| {
        socket.write_all(SWITCHED)?;
        socket.write_all(TEXT)?;
        let mut asked = [0; MASKED_CLOSE.len()];
        socket.try_clone()?.read_exact(&mut asked)?;
        socket.write_all(CLOSE)?;
        Err(std::io::ErrorKind::ConnectionAborted.into()) // the session is over
    }))
}

/// A session that has begun.
fn begun(sidecar: &Sidecar) -> BufReader<TcpStream> {
    let mut wire = connect(sidecar.addr);
    wire.get_mut().write_all(HANDSHAKE.as_bytes()).unwrap();
    assert_eq!(read_head(&mut wire).unwrap().unwrap().status(), 101);
    let mut text = [0; TEXT.len()];
    wire.read_exact(&mut text).unwrap();
    assert_eq!(text, TEXT);
    wire
}

fn close(mut wire: BufReader<TcpStream>) {
    wire.get_mut().write_all(MASKED_CLOSE).unwrap();
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, CLOSE);
}

/// The outcomes of all calls, in order; none has a number, and none says that it was free.
fn outcomes(ledger: &std::path::Path) -> Vec<Value> {
    let events = usage_events(ledger);
    for event in &events {
        let (tokens, accounting) = (&event["data"]["tokens"], &event["data"]["accounting"]);
        assert_eq!((&tokens["input"], &tokens["output"]), (&Value::Null, &Value::Null));
        assert_eq!(
            (&accounting["input_source"], &accounting["output_source"]),
            (&json!("unknown"), &json!("unknown"))
        );
        assert!(!accounting["reasons"].to_string().contains("not_billed"), "{accounting}");
    }
    events.iter().map(|event| event["data"]["stream"]["outcome"].clone()).collect()
}

#[test]
fn a_session_is_unknown_and_not_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service(), &ledger, &[]);
    close(begun(&sidecar));
    let metrics = wait_for("the call in the metrics", || {
        let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
        page.lines().any(|line| line.starts_with("tokenweir_requests_total{")).then_some(page)
    });
    let interrupted: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("tokenweir_stream_interruptions_total{")).collect();
    assert!(interrupted.iter().all(|line| line.ends_with(" 0")), "{interrupted:?}");
    assert_eq!(sidecar.stop().0, Some(0));
    assert_eq!(outcomes(&ledger), ["complete"]);
    verified(&ledger);
    let report = Command::new(binary())
        .args(["report", "--format", "json", "--ledger"])
        .arg(&ledger)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let line = report.as_array().map_or(&report["lines"][0], |lines| &lines[0]);
    assert_eq!((&line["calls"], &line["unknown_calls"]), (&json!(1), &json!(1)), "{report}");
}

#[test]
fn a_session_survives_kill_9_as_crashed_and_is_drained_by_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let service = service();
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let open = begun(&sidecar);
    std::thread::sleep(Duration::from_millis(600)); // its head is on record, and was checkpointed
    sidecar.kill();
    drop((open, sidecar));
    // A drain waits for it; one that does not end is ended.
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let open = begun(&sidecar);
    sidecar.terminate();
    wait_for("the port to close", || TcpStream::connect(sidecar.addr).is_err().then_some(()));
    assert!(sidecar.ended().is_none(), "a session runs still");
    close(open);
    assert_eq!(sidecar.wait().0, Some(0));
    let sidecar = Sidecar::start(service, &ledger, &["--drain-timeout", "1s"]);
    let open = begun(&sidecar);
    assert_eq!(sidecar.stop().0, Some(0));
    drop(open);
    assert_eq!(outcomes(&ledger), ["crashed", "complete", "shutdown"]);
    verified(&ledger);
}
