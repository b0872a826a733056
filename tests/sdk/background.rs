//! Responses in the background: `responses.create(background=True)`, polls, a resumed stream and a cancel, while the
//! sidecar is killed in between.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metering::usage::{Api, Source, Usage};
use serde_json::{Value, json};

use super::sdk::PYTHON;
use super::support::fake_service::{self, STREAM_HEAD, write_chunk, write_end};
use super::support::http::Message;
use super::support::sidecar::verified;
use super::{SHARED_SECRET, events_by_caller, sidecar};

fn response(id: &str, status: &str) -> Value {
    let usage = json!({"input_tokens": 30, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2_500,
        "output_tokens_details": {"reasoning_tokens": 2_400}, "total_tokens": 2_530});
    let over = !matches!(status, "queued" | "in_progress");
    json!({"id": id, "object": "response", "created_at": 1_795_000_000, "status": status, "background": true, "error": null,
        "incomplete_details": null, "instructions": null, "metadata": {}, "model": "gpt-5-mini-2025-08-07", "output": [],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "temperature": 1.0, "top_p": 1.0,
        "usage": if over { usage } else { Value::Null }})
}

/// `polls`: looks that were taken so far; the first one comes too early.
fn answer(request: &Message, to: &mut TcpStream, polls: &AtomicUsize) -> io::Result<()> {
    let target = request.target();
    let id = target.split('/').find(|part| part.starts_with("resp_")).unwrap_or("resp_1");
    let id = id.split('?').next().unwrap();
    let body = if target.contains("stream=") {
        to.write_all(STREAM_HEAD.as_bytes())?;
        let last = json!({"type": "response.completed", "sequence_number": 1, "response": response(id, "completed")});
        write_chunk(to, format!("event: response.completed\ndata: {last}\n\n").as_bytes())?;
        return write_end(to);
    } else if target.ends_with("/cancel") {
        response(id, "cancelled")
    } else if request.first_line().starts_with("POST") {
        response(id, "queued")
    } else {
        response(id, if polls.fetch_add(1, Ordering::SeqCst) == 0 { "in_progress" } else { "completed" })
    };
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn numbers(usage: &Usage) -> (Option<u64>, Option<u64>, bool) {
    (usage.tokens.input, usage.tokens.output, usage.accounting.deferred)
}

#[test]
fn a_response_in_the_background_has_one_bill_through_two_kills() {
    let Some(ready) = PYTHON.ready() else { return };
    let polls = AtomicUsize::new(0);
    let service = fake_service::start(Arc::new(move |request: &Message, to: &mut TcpStream| {
        answer(request, to, &polls)
    }));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let mut running = sidecar(service, &ledger, &[]);
    let step = |running: &super::Sidecar, caller: &str, words: &[&str]| {
        ready.step(
            "background.py",
            &[&[&format!("http://{}", running.addr), caller, SHARED_SECRET], words].concat(),
        )
    };
    assert_eq!(step(&running, "owner", &["create"])["status"], "queued");
    assert_eq!(step(&running, "other", &["poll", "resp_1"])["output_tokens"], Value::Null);
    // The promise begins a commit after the call did; starting the client took longer.
    running.kill();
    running = sidecar(service, &ledger, &[]);
    assert_eq!(step(&running, "other", &["poll", "resp_1"])["output_tokens"], 2_500);
    assert_eq!(step(&running, "other", &["poll", "resp_1"])["status"], "completed");
    running.kill();
    running = sidecar(service, &ledger, &[]);
    assert_eq!(step(&running, "other", &["poll", "resp_1"])["output_tokens"], 2_500);
    assert_eq!(step(&running, "other", &["stream", "resp_1"])["output_tokens"], 2_500);
    // One that nobody began here is billed to who sees it first, by whatever call that is.
    assert_eq!(step(&running, "stranger", &["stream", "resp_2"])["output_tokens"], 2_500);
    assert_eq!(step(&running, "quitter", &["cancel", "resp_3"])["status"], "cancelled");
    assert_eq!(running.stop().0, Some(0));
    verified(&ledger);
    let events = events_by_caller(&ledger);
    let owner: Vec<_> = events["owner"].iter().map(numbers).collect();
    assert_eq!(owner, [(None, None, false), (Some(30), Some(2_500), true)]);
    let bill = &events["owner"][1];
    assert_eq!((bill.target.api, bill.target.deployment.as_deref()), (Api::Responses, Some("team-r")));
    assert_eq!((bill.accounting.input_source, bill.tokens.output_reasoning), (Source::Reported, Some(2_400)));
    for caller in ["stranger", "quitter"] {
        assert_eq!(events[caller].iter().map(numbers).collect::<Vec<_>>(), [(Some(30), Some(2_500), true)]);
    }
    assert_eq!(events.len(), 3, "{:?}", events.keys());
}
