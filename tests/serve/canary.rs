//! No content and no credential in anything that the program writes.
//!
//! Random words stand in every free-text place of request, answer and headers; afterwards they
//! are looked for in the events, the log at its most verbose, the metrics, and the raw bytes of
//! the ledger and its write-ahead log.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::json;

use super::http::{Message, connect, exchange, get, post};
use super::sidecar::{Sidecar, events};
use super::upstream;

/// Begins every word that must not be seen again.
const CANARY: &str = "canary7f3a";

fn word(place: &str) -> String {
    format!("{CANARY}{place}")
}

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if body.contains("fail") {
        let error =
            json!({"error": {"code": "content_filter", "message": word("message"), "param": word("param")}});
        let error = error.to_string();
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n";
        return write!(to, "{head}Content-Length: {}\r\n\r\n{error}", error.len());
    }
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    let call = json!({"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "id": word("callid"), "function": {"name": word("tool"), "arguments": word("arguments")}}]}}]});
    let refusal = json!({"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"refusal": word("refusal")}}]});
    for event in [upstream::delta(&word("text")), format!("data: {call}\n\ndata: {refusal}\n\n")] {
        upstream::write_chunk(to, event.as_bytes())?;
    }
    // What cannot be read must not be quoted either.
    upstream::write_chunk(to, format!("data: {{\"broken {}\n\n", word("broken")).as_bytes())?;
    if body.contains("reported") {
        let usage = json!({"id": "x", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}});
        upstream::write_chunk(to, format!("data: {usage}\n\n").as_bytes())?;
    }
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

#[test]
fn no_word_of_a_call_is_written_anywhere() {
    let upstream = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(upstream, &ledger, &["--log-level", "trace", "--drift-sample", "100%"]);
    let mut connection = connect(sidecar.addr);
    for kind in ["stream", "reported stream", "fail", "not json"] {
        let body = json!({"stream": kind.ends_with("stream"), "stream_options": {"include_usage": kind.starts_with("reported")}, "user": word("user"), "stop": [word("stop")],
            "messages": [{"role": "user", "name": word("name"), "content": format!("{kind} {}", word("prompt"))}],
            "tools": [{"type": "function", "function": {"name": word("offered"), "description": word("description")}}]});
        let body = if kind == "not json" { format!("{{ {}", word("raw")) } else { body.to_string() };
        let (key, token, secret) =
            (word("key"), format!("Bearer {}.{}.x", word("head"), word("claims")), word("sub"));
        let fields = [
            ("api-key", key.as_str()),
            ("authorization", token.as_str()),
            ("ocp-apim-subscription-key", secret.as_str()),
            ("x-tokenweir-auth", secret.as_str()),
            ("cookie", secret.as_str()),
        ];
        let path = format!(
            "/openai/deployments/d/chat/completions?api-version=1&subscription-key={}",
            word("query")
        );
        exchange(&mut connection, &post(&path, &fields, &body));
    }
    let metrics = get(sidecar.admin, "/metrics").body;
    let files = ledger_bytes(&ledger);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    assert!(log.iter().any(|line| line.contains("\"call\"")), "nothing was logged");
    absent("the metrics", &metrics);
    absent("the log", log.join("\n").as_bytes());
    for (name, bytes) in files.into_iter().chain(ledger_bytes(&ledger)) {
        absent(&name, &bytes);
    }
    let events = events(&ledger);
    assert!(events.len() >= 4);
    absent("the events", serde_json::to_string(&events).unwrap().as_bytes());
}

fn ledger_bytes(ledger: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

fn absent(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(at) = text.find(CANARY) {
        let end = text[at..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(text.len(), |n| at + n);
        panic!("{place} holds {:?}", &text[at..end]);
    }
}
