//! `account` never crashes, hangs or contradicts itself, whatever stands in a line.
//!
//! Exchanges of our own, of the four APIs that are counted, and sessions are changed in their bytes, in the values of
//! the request, of the answer and of frames, and mixed with garbage.

use std::fs;
use std::time::{Duration, Instant};

use metering::account::{Explain, Options, run};
use serde_json::{Value, json};

use super::support::files::root;
use super::support::random::Random;

/// Lines in a run.
const LINES: usize = 10_000;

/// No line takes longer on a loaded machine; most take less than a millisecond.
const LINE_TIME_MAX: Duration = Duration::from_secs(10);

fn line(api: &str, model: &str, request: &Value, kind: &str, body: &str) -> Value {
    json!({"id": "i", "api": api, "azure": true, "model": model, "request": request,
        "response_kind": kind, "response_body": body})
}

fn events(documents: &[Value]) -> String {
    let events: String = documents.iter().map(|document| format!("data: {document}\n\n")).collect();
    events + "data: [DONE]\n\n"
}

fn schema() -> Value {
    json!({"type": "object", "title": "T", "required": ["a"], "additionalProperties": false, "properties": {
        "a": {"type": "array", "description": "list", "items": {"$ref": "#/$defs/A"}},
        "b": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": null},
        "c": {"type": ["integer", "null"], "minimum": 1, "description": "count\nof"}},
        "$defs": {"A": {"type": "object", "properties": {"x": {"enum": ["x", 1, null]}, "y": {"$ref": "#/$defs/A"}}}}})
}

fn chat() -> Value {
    let picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuD";
    let request = json!({"model": "gpt-4o", "stream": true, "n": 1, "stream_options": {"include_usage": true},
        "messages": [{"role": "system", "content": "Be kind."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": picture, "detail": "high"}}]},
            {"role": "assistant", "tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"name": "g", "arguments": "[]"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "{\"x\": 1}"}, {"role": "tool", "tool_call_id": "b", "content": "\u{e9}"}],
        "tools": [{"type": "function", "function": {"name": "find", "description": "Finds", "parameters": schema()}}],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema()}}});
    let chunk =
        |delta: Value| json!({"id": "c", "model": "gpt-4o", "choices": [{"index": 0, "delta": delta}]});
    let call = json!({"index": 0, "function": {"name": "find", "arguments": "{\"a\": [1, 2.5e3]}"}});
    let body = [
        chunk(json!({"content": "Good \u{1F600} morning"})),
        chunk(json!({"content": "!"})),
        chunk(json!({"tool_calls": [call]})),
        json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
    ];
    line("chat", "gpt-4o", &request, "sse", &events(&body))
}

fn responses(stream: bool) -> Value {
    let request = json!({"model": "gpt-4.1", "stream": stream, "instructions": "Be kind.", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "[]"}],
        "tools": [{"type": "function", "name": "find", "parameters": schema(), "strict": true}],
        "tool_choice": "required", "text": {"format": {"type": "json_schema", "name": "s", "schema": schema()}}});
    let message = json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Good morning"}]});
    let call = json!({"type": "function_call", "id": "f", "name": "find", "arguments": "{\"a\": 1}"});
    let whole = json!({"id": "r", "model": "gpt-4.1", "status": "completed", "output": [message, call],
        "usage": {"input_tokens": 1, "output_tokens": 2}});
    if !stream {
        return line("responses", "gpt-4.1", &request, "json", &whole.to_string());
    }
    let body = [
        json!({"type": "response.created", "response": {"id": "r", "model": "gpt-4.1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}}),
        json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "Good "}),
        json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "morning"}),
        json!({"type": "response.output_text.done", "item_id": "m", "output_index": 0, "content_index": 0, "text": "Good morning"}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "id": "f", "name": "find"}}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": 1, "delta": "{\"a\": 1}"}),
        json!({"type": "response.completed", "response": whole}),
    ];
    line("responses", "gpt-4.1", &request, "sse", &events(&body))
}

fn plain(api: &str) -> Value {
    let (request, answer) = match api {
        "embeddings" => (
            json!({"model": "text-embedding-3-small", "input": ["one", [1, 2, 3]], "dimensions": 8}),
            json!({"model": "text-embedding-3-small", "data": [{"index": 0, "embedding": [0.1]}], "usage": {"prompt_tokens": 4}}),
        ),
        _ => (
            json!({"model": "gpt-3.5-turbo-instruct", "prompt": ["one", "two"], "n": 2, "best_of": 3, "echo": true, "suffix": "s", "logprobs": 1}),
            json!({"model": "gpt-3.5-turbo-instruct", "choices": [{"index": 0, "text": "a", "logprobs": {"tokens": ["a"]}, "finish_reason": "stop"}, {"index": 1, "text": "b"}]}),
        ),
    };
    let model = answer["model"].as_str().unwrap();
    line(api, model, &request, "json", &answer.to_string())
}

fn originals() -> Vec<Value> {
    let mut originals =
        vec![chat(), responses(false), responses(true), plain("embeddings"), plain("completions")];
    let sessions = fs::read_to_string(root().join("fixtures/account/session.jsonl")).unwrap();
    originals.extend(sessions.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    originals
}

const MARKS: [&str; 18] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    "\\",
    "\\ud800",
    "\\u0000",
    ":",
    ",",
    "null",
    "-1",
    "1e999",
    "\\n",
    "data: ",
    "\u{0}",
    "$ref",
    "\u{1F600}",
];

/// Some bytes in some places are replaced.
fn change_bytes(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let end = (at + random.below(12)).min(bytes.len());
        bytes.splice(at..end, MARKS[random.below(MARKS.len())].bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Some value, somewhere below, is replaced by one of another kind.
fn change_value(value: &mut Value, random: &mut Random) {
    let inside = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if inside > 0 && random.below(8) > 0 {
        let place = random.below(inside);
        let below = match value {
            Value::Array(items) => items.get_mut(place),
            Value::Object(members) => members.values_mut().nth(place),
            _ => None,
        };
        return change_value(below.unwrap(), random);
    }
    *value = match random.below(11) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(""),
        5 => json!([]),
        6 => json!({}),
        7 => json!([[value.clone()], value.clone()]),
        8 => json!({"type": "object", "properties": {"p": value.clone()}, "$ref": "#/$defs/A"}),
        9 => "ab \u{5d0}\n".repeat(random.below(500)).into(),
        _ => (0..random.below(600)).fold(json!("deep"), |inner, _| json!([inner])),
    };
}

/// The answer's documents are changed in their values.
fn change_answer(body: &str, random: &mut Random) -> String {
    let mut change = |text: &str| {
        let Ok(mut value) = serde_json::from_str(text) else { return text.to_owned() };
        if random.below(2) == 0 {
            change_value(&mut value, random);
        }
        value.to_string()
    };
    if body.starts_with('{') {
        return change(body);
    }
    let event = |event: &str| match event.strip_prefix("data: ") {
        Some(data) => format!("data: {}\n\n", change(data)),
        None => format!("{event}\n\n"),
    };
    body.split("\n\n").map(event).collect()
}

fn mutated(originals: &[Value], round: usize, random: &mut Random) -> String {
    let mut line = originals[round % originals.len()].clone();
    let body = line["response_body"].as_str().unwrap_or_default().to_owned();
    match round / originals.len() % 5 {
        0 => return change_bytes(&line.to_string(), random).replace('\n', " "),
        1..=3 if line["frames"].is_array() => change_value(&mut line["frames"], random),
        1 => change_value(&mut line["request"], random),
        2 => line["response_body"] = change_bytes(&body, random).into(),
        3 => line["response_body"] = change_answer(&body, random).into(),
        _ => return (0..random.below(300)).map(|_| MARKS[random.below(MARKS.len())]).collect(),
    }
    line.to_string()
}

/// One line in, one line out; a side has a number if and only if its quality is known, and the number is the sum of its parts.
fn holds(output: &Value) -> bool {
    if output.get("error").is_some() {
        return true;
    }
    let responses = output["responses"].as_array();
    assert_eq!(responses.map(|responses| responses.len() + 1), output["events"].as_array().map(Vec::len));
    responses.into_iter().flatten().all(holds)
        && ["input", "output"].iter().all(|side| {
            let computed = &output["computed"][side];
            let parts = output["explain"][side].as_array().unwrap();
            let sum: i64 = parts.iter().map(|part| part["tokens"].as_i64().unwrap()).sum();
            let quality = &output[format!("{side}_quality")];
            computed.is_null() == (quality == "unknown")
                && (computed.is_null() || parts.is_empty() || computed.as_i64() == Some(sum.max(0)))
        })
}

#[test]
fn mutated_lines_never_crash() {
    let (originals, mut random) = (originals(), Random::seeded(2));
    let options = Options { explain: Explain::Json, ..Options::default() };
    let account = |line: &str| -> Option<Value> {
        let mut output = Vec::new();
        let begun = Instant::now();
        run(line.as_bytes(), &mut output, &options).unwrap();
        assert!(begun.elapsed() < LINE_TIME_MAX, "{:?} for {line}", begun.elapsed());
        // A blank line gives none.
        (!output.is_empty()).then(|| serde_json::from_slice(&output).unwrap())
    };
    for original in &originals {
        let output = account(&original.to_string()).unwrap();
        assert!(output.get("error").is_none() && holds(&output), "{output}");
    }
    let mut read = 0;
    for round in 0..LINES {
        let line = mutated(&originals, round, &mut random);
        let Some(output) = account(&line) else { continue };
        assert!(holds(&output), "{line}\n{output}");
        read += usize::from(output.get("error").is_none());
    }
    assert!(read > LINES / 2, "only {read} lines were read");
}
