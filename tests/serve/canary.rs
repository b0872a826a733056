//! No content and no credential in anything that the program writes.
//!
//! Words stand in every free-text place of 30 shapes of requests, of their answers and of headers;
//! afterwards they are looked for in the events, the log at its most verbose, the metrics, the bodies of
//! our own errors, what other commands print, and the raw bytes of the ledger and its write-ahead log.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::http::{connect, exchange, get};
use super::sidecar::{Sidecar, binary, events};
use super::support::canaries::{CANARY, Shape, absent, answer, chats, others, send, word};
use super::upstream;

/// What other programs of ours print of the ledger.
fn printed(ledger: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for command in ["events", "report", "verify"] {
        let output = Command::new(binary()).arg(command).arg("--ledger").arg(ledger).output().unwrap();
        all.extend([output.stdout, output.stderr].concat());
    }
    all
}

#[test]
fn no_word_of_a_call_is_written_anywhere() {
    let shapes: Vec<Shape> = chats().into_iter().chain(others()).collect();
    assert!(shapes.len() >= 30, "{} shapes", shapes.len());
    for shape in &shapes {
        assert!(shape.body.contains(CANARY), "{}: no word", shape.name);
    }
    let service = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &["--log-level", "trace", "--drift-sample", "100%"]);
    for shape in &shapes {
        let answer = send(sidecar.addr, shape);
        // What the service says passes: the words are in there, so they have been on their way.
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(said.contains(CANARY), "{}: {} {said}", shape.name, answer.first_line());
    }
    let metrics = get(sidecar.admin, "/metrics").body;
    let files = ledger_bytes(&ledger);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    let lines = log.iter().filter(|line| line.contains("\"call\"")).count();
    assert_eq!(lines, shapes.len(), "each call has its line");
    absent("the metrics", &metrics);
    absent("the log", log.join("\n").as_bytes());
    for (name, bytes) in files.into_iter().chain(ledger_bytes(&ledger)) {
        absent(&name, &bytes);
    }
    absent("what commands print", &printed(&ledger));
    let events = events(&ledger);
    assert!(events.len() >= shapes.len());
    absent("the events", serde_json::to_string(&events).unwrap().as_bytes());
}

/// Our own errors quote nothing: no service there, no such upstream, no such method.
#[test]
fn no_word_is_in_an_error_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sidecar = Sidecar::start(nobody, &dir.path().join("ledger"), &["--log-level", "trace"]);
    for shape in chats() {
        let answer = send(sidecar.addr, &shape);
        assert_eq!(answer.status(), 502, "{}", shape.name);
        absent("the body of a 502", &answer.body);
        absent("the head of a 502", format!("{} {:?}", answer.first_line(), answer.head).as_bytes());
    }
    let broken = format!(
        "POST /{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {}\r\n\r\n",
        word("path"),
        word("coding")
    );
    let answer = exchange(&mut connect(sidecar.addr), broken.as_bytes());
    absent("the body of a refusal", &answer.body);
    let (_, log) = sidecar.stop();
    absent("the log", log.join("\n").as_bytes());
}

fn ledger_bytes(ledger: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}
