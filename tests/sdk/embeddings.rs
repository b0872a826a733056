//! Embeddings: both SDKs ask for base64 unless told otherwise, and decode it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metering::usage::{Api, Outcome, Quality, Source};
use serde_json::{Value, json};

use super::sdk::{NODE, PYTHON, Sdk};
use super::support::fake_service;
use super::support::http::Message;
use super::{SHARED_SECRET, events_by_caller, sidecar};

/// Numbers that are the same as text and as 32 bits.
const VECTOR: [f32; 4] = [0.25, -0.5, 1.0, -0.031_25];
const PROMPT_TOKENS: u64 = 5;

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let asked: Value = serde_json::from_slice(&request.body)?;
    let bytes = VECTOR.map(f32::to_le_bytes).concat();
    let embedding =
        if asked["encoding_format"] == "base64" { json!(STANDARD.encode(bytes)) } else { json!(VECTOR) };
    let body = json!({"object": "list", "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}})
    .to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn one_right_event_each(sdk: &Sdk) {
    let Some(ready) = sdk.ready() else { return };
    let service: SocketAddr = fake_service::start(Arc::new(answer));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(service, &ledger, &[]);
    let calls = ready.embed(&format!("http://{}", sidecar.addr), SHARED_SECRET, &json!(VECTOR).to_string());
    assert_eq!(sidecar.stop().0, Some(0));
    assert_eq!(calls.len(), 4, "two clients, two encodings");
    let mut events = events_by_caller(&ledger);
    for call in &calls {
        let found = events.remove(&call.caller).unwrap_or_default();
        assert_eq!(found.len(), 1, "events of {call:?}");
        let event = &found[0];
        assert_eq!((event.target.api, event.stream.outcome), (Api::Embeddings, Outcome::Complete));
        assert_eq!(event.target.deployment.as_deref(), Some("embed"));
        assert_eq!((event.tokens.input, event.tokens.output), (Some(PROMPT_TOKENS), Some(0)), "{call:?}");
        let accounting = &event.accounting;
        assert_eq!((accounting.input_source, accounting.input_quality), (Source::Reported, Quality::Exact));
    }
    assert!(events.is_empty(), "events that nobody called for: {events:?}");
}

#[test]
fn python_embeddings_through_serve_give_one_right_event_each() {
    one_right_event_each(&PYTHON);
}

#[test]
fn node_embeddings_through_serve_give_one_right_event_each() {
    one_right_event_each(&NODE);
}
