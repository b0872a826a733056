//! What operators see of a call: one line with the event's field names, its trace, and metrics that move.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::http::{Message, connect, exchange, get, post};
use super::sidecar::{Sidecar, usage_events, wait_for};
use super::upstream;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Every field of a call's line, and no other.
const FIELDS: &[&str] = &[
    "timestamp",
    "level",
    "message",
    "id",
    "caller.id",
    "target.api",
    "target.deployment",
    "target.model",
    "request.status",
    "stream.outcome",
    "tokens.input",
    "tokens.output",
    "accounting.input_source",
    "accounting.output_source",
    "accounting.input_quality",
    "accounting.output_quality",
    "timing.first_token_ms",
    "timing.duration_ms",
    "trace_id",
];

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn a_call_has_one_line_its_trace_and_its_place_in_the_metrics() {
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let answer = move |request: &Message, to: &mut TcpStream| -> io::Result<()> {
        *noted.lock().unwrap() = request.field("traceparent").map(str::to_owned);
        to.write_all(upstream::STREAM_HEAD.as_bytes())?;
        upstream::write_chunk(to, upstream::delta("Hi").as_bytes())?;
        upstream::write_chunk(to, upstream::stop().as_bytes())?;
        upstream::write_end(to)
    };
    let service = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let body = r#"{"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let path = "/openai/deployments/d/chat/completions?api-version=1";
    exchange(&mut connect(sidecar.addr), &post(path, &[("traceparent", &parent)], body));
    assert_eq!(seen.lock().unwrap().as_deref(), Some(parent.as_str()), "passed on");

    let settled = || {
        let text = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
        (metric(&text, "tokenweir_calls_settled_total") == 1.0).then_some(text)
    };
    let text = wait_for("the call to settle", settled);
    for (name, at_least) in [
        ("tokenweir_overhead_seconds_count{phase=\"request\"}", 1.0),
        ("tokenweir_overhead_seconds_count{phase=\"chunk\"}", 1.0),
        ("tokenweir_body_bytes_total{direction=\"request\"}", body.len() as f64),
        ("tokenweir_body_bytes_total{direction=\"answer\"}", upstream::stop().len() as f64),
    ] {
        assert!(metric(&text, name) >= at_least, "{name}: {text}");
    }
    assert_eq!(metric(&text, "tokenweir_streams_in_flight{deployment=\"d\"}"), 0.0);
    assert_eq!(metric(&text, "tokenweir_meter_backlog_bytes"), 0.0);

    let (_, log) = sidecar.stop();
    let lines: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let calls: Vec<_> = lines.iter().filter(|line| line["message"] == "call").collect();
    assert_eq!(calls.len(), 1);
    let names: BTreeSet<&str> = calls[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, FIELDS.iter().copied().collect());
    let event = &usage_events(&ledger)[0];
    for name in FIELDS.iter().filter(|name| name.contains('.')) {
        let of_event = event["data"].pointer(&format!("/{}", name.replace('.', "/"))).unwrap();
        assert_eq!(&calls[0][*name], of_event, "{name}");
    }
    assert_eq!((&calls[0]["id"], &calls[0]["trace_id"]), (&event["id"], &Value::from(TRACE)));
    assert_eq!(event["traceparent"], parent.as_str());
}

#[test]
fn the_lines_of_calls_can_be_off_or_sampled_and_nothing_else_changes() {
    let answer = |_: &Message, to: &mut TcpStream| -> io::Result<()> {
        to.write_all(upstream::STREAM_HEAD.as_bytes())?;
        upstream::write_chunk(to, upstream::stop().as_bytes())?;
        upstream::write_end(to)
    };
    let service = upstream::start(Arc::new(answer));
    for (calls, lines) in [("on", 3), ("off", 0), ("sampled", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger");
        let sidecar = Sidecar::start(service, &ledger, &["--log-calls", calls]);
        for _ in 0..3 {
            let path = "/openai/deployments/d/chat/completions?api-version=1";
            exchange(&mut connect(sidecar.addr), &post(path, &[], r#"{"stream":true,"messages":[]}"#));
        }
        let (code, log) = sidecar.stop();
        assert_eq!((code, usage_events(&ledger).len()), (Some(0), 3), "{calls}");
        let said =
            |what: &str| log.iter().filter(|line| line.contains(&format!("\"message\":\"{what}"))).count();
        assert_eq!((said("call\""), said("listening"), said("stopped")), (lines, 1, 1), "{calls}: {log:#?}");
    }
}
