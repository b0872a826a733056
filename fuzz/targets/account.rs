//! `account` gives one line of JSON for each line, soon; and what the service reports does not leak
//! into what is computed, of a call and of each response of a session.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use metering::account::{Options, run};
use serde_json::{Value, json};

/// For inputs of some kilobytes; they take milliseconds.
const TIME_MAX: Duration = Duration::from_secs(5);

const USAGES: [&str; 4] = [
    "null",
    r#"{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,"input_tokens":3,"output_tokens":4}"#,
    r#"{"prompt_tokens":99999,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":1}}"#,
    r#"{"prompt_tokens":-1}"#,
];

fuzz_target!(|input: &[u8]| {
    let begun = Instant::now();
    lines(input);
    if let Some((&kind, rest)) = input.split_first() {
        let middle = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let (request, answer) = (&rest[..middle], rest.get(middle + 1..).unwrap_or_default());
        let (request, answer) = (String::from_utf8_lossy(request), String::from_utf8_lossy(answer));
        no_leak(kind, &request, &answer);
        no_leak_in_sessions(kind, &request, &answer);
    }
    assert!(begun.elapsed() < TIME_MAX);
});

fn account(input: &[u8]) -> (Vec<Value>, u64) {
    let mut output = Vec::new();
    let summary = run(input, &mut output, &Options::default()).unwrap();
    let lines = output.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, summary.lines);
    assert!(summary.bad_lines <= summary.lines);
    lines.iter().for_each(events_fit);
    (lines, summary.bad_lines)
}

/// A session has an event for each response and one of its own, each with its id.
fn events_fit(line: &Value) {
    let Some(responses) = line["responses"].as_array() else { return };
    let events = line["events"].as_array().unwrap();
    assert_eq!(events.len(), responses.len() + 1);
    assert!(responses.iter().zip(events).all(|(response, event)| response["id"] == event["id"]));
    assert_eq!(events.last(), Some(&line["event"]));
}

fn lines(input: &[u8]) {
    let expected = input.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let (lines, bad) = account(input);
    assert_eq!(lines.len(), expected);
    assert_eq!(lines.iter().filter(|line| line.get("error").is_some()).count() as u64, bad);
}

/// The same exchange with different words of the service: all that is computed stays the same.
fn no_leak(kind: u8, request: &str, answer: &str) {
    if serde_json::from_str::<&serde_json::value::RawValue>(request).is_err() {
        return;
    }
    let api = ["chat", "responses", "completions", "embeddings"][usize::from(kind % 4)];
    let stream = kind & 4 != 0;
    let computed: Vec<Value> =
        USAGES.iter().map(|usage| computed(api, stream, request, answer, usage)).collect();
    for other in &computed[1..] {
        assert_eq!(*other, computed[0]);
    }
}

fn computed(api: &str, stream: bool, request: &str, answer: &str, usage: &str) -> Value {
    let text = Value::from(answer);
    let head = r#""id":"a","model":"gpt-4o-2024-11-20""#;
    let body = match (api, stream) {
        ("chat", false) => format!(
            r#"{{{head},"choices":[{{"index":0,"message":{{"content":{text}}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        ),
        ("completions", false) => {
            format!(
                r#"{{{head},"choices":[{{"index":0,"text":{text},"finish_reason":"stop"}}],"usage":{usage}}}"#
            )
        }
        ("chat", true) => format!(
            "data: {{{head},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}},\"finish_reason\":\"stop\"}}]}}\n\ndata: {{{head},\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
        ),
        ("responses", _) => format!(
            r#"{{{head},"status":"completed","output":[{{"type":"message","content":[{{"type":"output_text","text":{text}}}]}}],"usage":{usage}}}"#
        ),
        _ => format!(r#"{{{head},"usage":{usage}}}"#),
    };
    let kind = if stream && api == "chat" { "sse" } else { "json" };
    let body = Value::from(body);
    let line = format!(
        r#"{{"id":"x","api":"{api}","azure":true,"model":"gpt-4o","status":200,"request":{request},"response_kind":"{kind}","response_body":{body}}}"#
    );
    let line = line.replace('\n', " ");
    let (mut lines, _) = account(line.as_bytes());
    let line = lines.remove(0);
    json!([line["computed"], line["input_quality"], line["output_quality"], line["reasons"]])
}

/// The same session with different words of the service, the texts being any.
fn no_leak_in_sessions(kind: u8, asked: &str, answer: &str) {
    let computed: Vec<Value> = USAGES.iter().map(|usage| computed_in_session(kind, asked, answer, usage)).collect();
    for other in &computed[1..] {
        assert_eq!(*other, computed[0]);
    }
}

fn computed_in_session(kind: u8, asked: &str, answer: &str, usage: &str) -> Value {
    let usage: Value = serde_json::from_str(usage).unwrap();
    let api = if kind & 8 == 0 { "responses" } else { "realtime" };
    let last = if kind & 16 == 0 { json!({"from": "server", "close": 1000}) } else { json!({"from": "client", "cut": true}) };
    let text = |json: Value| json!({"from": "server", "text": json.to_string()});
    let response = json!({"id": "r", "status": "completed", "model": "gpt-4o-2024-11-20", "usage": usage,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": answer}]}]});
    let line = json!({"id": "x", "api": api, "response_kind": "frames", "frames": [
        {"from": "client", "json": {"type": "response.create", "model": "gpt-4o", "input": asked}},
        {"from": "client", "text": asked},
        text(json!({"type": "response.created", "response": {"id": "r"}})),
        text(json!({"type": "response.output_text.delta", "response_id": "r", "item_id": "m", "output_index": 0, "content_index": 0, "delta": answer})),
        {"from": "server", "text": answer},
        text(json!({"type": "response.completed", "response": response})),
        text(json!({"type": "response.done", "response": response})),
        last,
    ]});
    let (mut lines, bad) = account(line.to_string().as_bytes());
    assert_eq!(bad, 0);
    let line = lines.remove(0);
    let computed = |line: &Value| json!([line["id"], line["computed"], line["input_quality"], line["output_quality"], line["reasons"]]);
    json!([computed(&line), line["responses"].as_array().unwrap().iter().map(computed).collect::<Vec<_>>()])
}
