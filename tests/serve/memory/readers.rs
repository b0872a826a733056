//! Callers that ask for long answers and read nothing: what each holds.
//!
//! The answers have `logprobs`, twenty to a token: megabytes for a text of some kilobytes, the cheapest that
//! there are. `TOKENWEIR_LONG=1` also runs the long form: 1,000 callers of each kind.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::http::post;
use super::super::sidecar::Sidecar;
use super::super::skip;
use super::super::upstream::{self, STREAM_HEAD, write_chunk, write_end};
use super::Memory;

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const RESPONSES: &str = "/openai/v1/responses";

/// What makes 2.7 MB.
const TOKENS: usize = 2_550;

/// What a caller holds that reads nothing: what hyper has of the answer to write, a read buffer of 64 KiB
/// of the service's side, and what of the answer is held to be read as a whole.
const CALLER_BYTES_MAX: usize = 448 << 10;

/// What all answers together may have waited to be counted ([`tokenweir::tee::ResponseBounds`]): the texts of a crowd
/// that comes at once, and the allocator does not give it back.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// The manifest's limit, `deploy/kubernetes/statefulset.yaml`.
const PROCESS_BYTES_MAX: usize = 1 << 30;

/// Until nothing more is read of any answer; far more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer of one kind, as it stands on the wire.
fn answer(kind: &str) -> Vec<u8> {
    let entry = |n: usize| {
        let others: Vec<_> = (0..20)
            .map(|other| json!({"token": format!(" a{other}"), "logprob": -1.5, "bytes": [32, 97, 48 + other]}))
            .collect();
        json!({"token": " a", "logprob": -0.1 - n as f64, "bytes": [32, 97], "top_logprobs": others})
    };
    let entries: Vec<_> = (0..TOKENS).map(entry).collect();
    let model = "gpt-4o-2024-11-20";
    match kind {
        "document" => {
            let choice = json!({"index": 0, "message": {"content": " a".repeat(TOKENS)}, "logprobs": {"content": entries}, "finish_reason": "stop"});
            let body = json!({"id": "c", "model": model, "choices": [choice]}).to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
        "stream" => {
            let chunk = |entry| {
                let choice =
                    json!({"index": 0, "delta": {"content": " a"}, "logprobs": {"content": [entry]}});
                format!("data: {}\n\n", json!({"id": "c", "model": model, "choices": [choice]}))
            };
            entries.into_iter().map(chunk).collect::<String>().into_bytes()
        }
        "event" => {
            let part = json!({"type": "output_text", "text": " a".repeat(TOKENS), "logprobs": entries});
            let response = json!({"id": "r", "model": model, "status": "completed", "output": [{"type": "message", "content": [part]}]});
            format!("data: {}\n\n", json!({"type": "response.completed", "response": response})).into_bytes()
        }
        kind => panic!("{kind}"),
    }
}

fn send(answer: &[u8], streamed: bool, to: &mut TcpStream) -> io::Result<()> {
    if !streamed {
        return to.write_all(answer);
    }
    to.write_all(STREAM_HEAD.as_bytes())?;
    answer.chunks(8 << 10).try_for_each(|piece| write_chunk(to, piece))?;
    write_end(to)
}

/// A connection whose own end holds next to nothing.
fn connect(addr: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&addr.into()).unwrap();
    socket.into()
}

/// What it holds once it holds no more than two seconds ago.
fn settled(pid: u32) -> Memory {
    let (began, mut last) = (Instant::now(), Memory::of(pid));
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = Memory::of(pid);
        if now.resident_bytes <= last.resident_bytes + (256 << 10) {
            return now;
        }
        assert!(began.elapsed() < PATIENCE, "still growing: {now}");
        last = now;
    }
}

/// So many callers of a kind.
fn hold(kind: &'static str, callers: usize) {
    let answer = answer(kind);
    let (bytes, streamed) = (answer.len(), kind != "document");
    let service = upstream::start(Arc::new(move |_, to| send(&answer, streamed, to)));
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(service, &dir.path().join("ledger"), &[]);
    let before = Memory::of(sidecar.pid());
    let path = if kind == "event" { RESPONSES } else { CHAT };
    let request =
        post(path, &[], r#"{"messages":[{"role":"user","content":"hi"}],"logprobs":true,"top_logprobs":20}"#);
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let mut caller = connect(sidecar.addr);
            caller.write_all(&request).unwrap();
            caller
        })
        .collect();
    let after = settled(sidecar.pid());
    let each = after.resident_bytes.saturating_sub(before.resident_bytes) / callers.len();
    println!(
        "{} callers that do not read, {kind} of {bytes} bytes: {each} bytes each; before {before}, after {after}",
        callers.len()
    );
    assert!(bytes > 2_500_000);
    let backlog_bytes = if kind == "stream" { BACKLOG_BYTES_MAX / callers.len() } else { 0 };
    assert!(each <= CALLER_BYTES_MAX + backlog_bytes, "{each} bytes for a caller");
    assert!(after.resident_bytes <= PROCESS_BYTES_MAX, "{after}");
}

#[test]
fn callers_that_read_nothing_hold_little() {
    for kind in ["document", "stream", "event"] {
        hold(kind, 60);
        if skip::long() {
            hold(kind, 1_000);
        }
    }
}
