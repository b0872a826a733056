//! Sessions over WebSockets through the whole program: what its event, its metrics and its report say
//! of one that completed, one that was crashed and one that was drained.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokenweir::ledger::LedgerReader;

use super::http::{connect, get, read_head};
use super::sidecar::{Sidecar, binary, usage_events, verified, wait_for};
use super::support::websocket::{CLOSE, MASKED_CLOSE, text};
use super::upstream;

pub(crate) const HANDSHAKE: &str = "GET /openai/v1/realtime?model=rt HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(crate) const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A response that has come to its end, and one that has begun.
const DONE: &str =
    r#"{"type":"response.done","response":{"id":"r1","usage":{"input_tokens":7,"output_tokens":3}}}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"id":"r2","status":"in_progress"}}"#;

/// A service that says this, and answers a close frame with one.
fn service(said: &[&str]) -> SocketAddr {
    let said = greeting(said);
    upstream::start(Arc::new(move |_, socket| {
        socket.write_all(SWITCHED)?;
        socket.write_all(&said)?;
        let mut asked = [0; MASKED_CLOSE.len()];
        socket.try_clone()?.read_exact(&mut asked)?;
        socket.write_all(CLOSE)?;
        Err(std::io::ErrorKind::ConnectionAborted.into()) // the session is over
    }))
}

fn greeting(said: &[&str]) -> Vec<u8> {
    said.iter().flat_map(|said| text(said)).collect()
}

/// A session that has begun, and whose service has said this.
fn begun(sidecar: &Sidecar, said: &[&str]) -> BufReader<TcpStream> {
    begun_by(HANDSHAKE, sidecar, said)
}

/// The same by another handshake.
fn begun_by(handshake: &str, sidecar: &Sidecar, said: &[&str]) -> BufReader<TcpStream> {
    let mut wire = connect(sidecar.addr);
    wire.get_mut().write_all(handshake.as_bytes()).unwrap();
    assert_eq!(read_head(&mut wire).unwrap().unwrap().status(), 101);
    let mut heard = vec![0; greeting(said).len()];
    wire.read_exact(&mut heard).unwrap();
    assert_eq!(heard, greeting(said));
    wire
}

fn close(mut wire: BufReader<TcpStream>) {
    wire.get_mut().write_all(MASKED_CLOSE).unwrap();
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, CLOSE);
}

/// The outcome, the numbers and the reasons of every event, in order.
fn told(ledger: &std::path::Path) -> Vec<(String, Value, String)> {
    let events = usage_events(ledger);
    let told = events.iter().map(|event| {
        let data = &event["data"];
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let tokens = json!([data["tokens"]["input"], data["tokens"]["output"]]);
        let reasons: Vec<_> = data["accounting"]["reasons"].as_array().unwrap().iter().map(word).collect();
        (word(&data["stream"]["outcome"]), tokens, reasons.join(" "))
    });
    told.collect()
}

fn one(outcome: &str, tokens: Value, reasons: &str) -> (String, Value, String) {
    let reasons: Vec<_> = reasons
        .split_whitespace()
        .flat_map(|reason| [format!("input:{reason}"), format!("output:{reason}")])
        .collect();
    (outcome.to_owned(), tokens, reasons.join(" "))
}

/// The event of a session itself.
fn session(outcome: &str) -> (String, Value, String) {
    one(outcome, json!([0, 0]), "billed_per_response")
}

#[test]
fn a_session_and_its_responses_are_calls_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let said = [DONE, DONE];
    let sidecar = Sidecar::start(service(&said), &ledger, &[]);
    close(begun(&sidecar, &said));
    let metrics = wait_for("the calls in the metrics", || {
        let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
        page.lines().any(|line| line.starts_with("tokenweir_calls_settled_total 3")).then_some(page)
    });
    let interrupted: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("tokenweir_stream_interruptions_total{")).collect();
    assert!(interrupted.iter().all(|line| line.ends_with(" 0")), "{interrupted:?}");
    assert_eq!(sidecar.stop().0, Some(0));
    let response = one("complete", json!([7, 3]), "");
    assert_eq!(told(&ledger), [response.clone(), response, session("complete")]);
    verified(&ledger);
    let report = Command::new(binary())
        .args(["report", "--format", "json", "--ledger"])
        .arg(&ledger)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let line = report.as_array().map_or(&report["lines"][0], |lines| &lines[0]);
    assert_eq!((&line["calls"], &line["unknown_calls"]), (&json!(3), &json!(0)), "{report}");
}

/// A response that is killed before its first checkpoint is known by its id all the same.
#[test]
fn a_response_that_has_just_begun_crashes_with_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let (said, service) = ([CREATED], service(&[CREATED]));
    let of_responses = HANDSHAKE.replace("realtime?model=rt", "responses");
    for handshake in [HANDSHAKE, &of_responses] {
        let sidecar = Sidecar::start(service, &ledger, &[]);
        let open = begun_by(handshake, &sidecar, &said);
        // A checkpoint follows within a quarter of a second.
        while LedgerReader::open(&ledger).unwrap().open_calls().unwrap() < 2 {
            std::thread::yield_now();
        }
        sidecar.kill();
        drop((open, sidecar));
    }
    assert_eq!(Sidecar::start(service, &ledger, &[]).stop().0, Some(0));
    let events = usage_events(&ledger);
    let ids: Vec<_> =
        events.iter().filter_map(|event| event["data"]["ids"]["response_id"].as_str()).collect();
    assert_eq!((events.len(), ids), (4, vec!["r2", "r2"]), "{events:?}");
}

#[test]
fn a_session_survives_kill_9_as_crashed_and_is_drained_by_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let (said, service) = ([DONE, CREATED], service(&[DONE, CREATED]));
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let open = begun(&sidecar, &said);
    std::thread::sleep(Duration::from_millis(600)); // its head is on record, and was checkpointed
    sidecar.kill();
    drop((open, sidecar));
    // A drain waits for it; one that does not end is ended.
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let open = begun(&sidecar, &said);
    sidecar.terminate();
    wait_for("the port to close", || TcpStream::connect(sidecar.addr).is_err().then_some(()));
    assert!(sidecar.ended().is_none(), "a session runs still");
    close(open);
    assert_eq!(sidecar.wait().0, Some(0));
    let sidecar = Sidecar::start(service, &ledger, &["--drain-timeout", "1s"]);
    let open = begun(&sidecar, &said);
    assert_eq!(sidecar.stop().0, Some(0));
    drop(open);
    // Settled responses stay; one that was open has no number, and the session none of its own.
    let mut expected = Vec::new();
    for outcome in ["crashed", "client_disconnect", "shutdown"] {
        let response = one("complete", json!([7, 3]), "");
        expected.extend([response, one(outcome, json!([null, null]), outcome), session(outcome)]);
    }
    let mut found = told(&ledger);
    if found[1] == session("crashed") {
        found.swap(1, 2); // recovery settles open calls in any order
    }
    for (_, _, reasons) in &mut found {
        *reasons = reasons.replace("output:crashed input:crashed", "input:crashed output:crashed");
    }
    assert_eq!(found, expected);
    verified(&ledger);
}
