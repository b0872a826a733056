//! A chunk says what serde_json reads in it, and a stream of chunks counts the same whether its
//! chunks go the fast way or are all parsed.
#![no_main]

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use metering::caller::{Caller, Trust};
use metering::chunk::{Chunk, Text};
use metering::meter::{Ending, Meter, Rules};
use metering::usage::{Api, Target, Usage};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let documents: Vec<Vec<u8>> = input.split(|byte| matches!(byte, b'\n' | b'\r')).map(document).collect();
    documents.iter().for_each(|document| reads_as_serde_json(document));
    // The fast way is for events without a name.
    let (fast, parsed) = (metered(&documents, ""), metered(&documents, "event: x\n"));
    assert_eq!(fast, parsed);
});

/// A line is a whole document, or, mostly, the raw text of one of two choices.
fn document(line: &[u8]) -> Vec<u8> {
    let (choice, line) = match line.split_first() {
        Some((b'{', _)) => return line.to_vec(),
        Some((b'1', rest)) => (1, rest),
        Some((_, rest)) => (0, rest),
        None => (0, line),
    };
    let before = format!(r#"{{"model":"gpt-4o","choices":[{{"index":{choice},"delta":{{"content":""#);
    [before.as_bytes(), line, br#""},"finish_reason":null}],"usage":null}"#].concat()
}

/// The accounting of a stream, and whether each of its chunks could be read.
fn metered(documents: &[Vec<u8>], name: &str) -> String {
    let target = Target { api: Api::ChatCompletions, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let mut meter = Meter::new(draft, Rules { end_of_turn: true });
    meter.request_bytes(br#"{"stream":true}"#);
    meter.request_end();
    let content_type = HeaderValue::from_static("text/event-stream");
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    for document in documents {
        let event = [name.as_bytes(), b"data: ", document, b"\n\n"].concat();
        meter.response_bytes(&event, usize::MAX);
    }
    serde_json::to_string(&meter.settle(Ending::Eof)).unwrap()
}

fn owned(text: Option<Text<'_>>) -> Option<String> {
    text.map(|text| text.lossy().into_owned())
}

/// What serde_json takes for an object is read, and the same is read. Of the names `delta` and
/// `message` the last one counts, which a map does not tell: a choice with both is not looked at.
fn reads_as_serde_json(document: &[u8]) {
    let Ok(Value::Object(expected)) = serde_json::from_slice(document) else { return };
    let chunk = Chunk::parse(document).unwrap();
    let text = |name: &str| expected.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(owned(chunk.id), text("id"));
    assert_eq!(owned(chunk.model), text("model"));
    assert_eq!(owned(chunk.kind), text("type"));
    let usage = chunk.charges().and_then(|charges| charges.usage());
    assert!(usage.is_some() || !expected.get("usage").is_some_and(Value::is_object));
    let mut found = Vec::new();
    chunk
        .choices(|choice| {
            let message = choice.message().unwrap();
            let mut calls = Vec::new();
            message.tool_calls(|call| calls.push((owned(call.name), owned(call.arguments)))).unwrap();
            found.push((owned(choice.finish_reason), owned(message.content), owned(message.refusal), calls));
        })
        .unwrap();
    let choices = expected.get("choices").and_then(Value::as_array).cloned().unwrap_or_default();
    let choices = choices.iter().filter(|choice| choice.is_object());
    for (choice, found) in choices.zip(&found) {
        if choice.get("delta").is_some() && choice.get("message").is_some() {
            continue;
        }
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = choice.get("delta").or(choice.get("message")).unwrap_or(&Value::Null);
        let calls = message.get("tool_calls").and_then(Value::as_array).cloned().unwrap_or_default();
        let calls = calls.iter().filter(|call| call.is_object()).map(|call| {
            let function = call.get("function").unwrap_or(&Value::Null);
            (text(function, "name"), text(function, "arguments"))
        });
        let expected = (
            text(choice, "finish_reason"),
            text(message, "content"),
            text(message, "refusal"),
            calls.collect::<Vec<_>>(),
        );
        assert_eq!(*found, expected);
    }
}
