//! Streams put together, whole and cut anywhere.

use metering::usage::PartFacts;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{EVENT_STREAM, Form, Readable, readable};

/// The facts of a side with this head.
fn facts(content_type: &str, content_encoding: Option<&str>) -> PartFacts {
    serde_json::from_value(json!({
        "call": "c", "usage": "event", "caller": {"id": "a", "trust": "none"},
        "target": {"api": "other", "resource": "r"}, "side": "response", "part": 0, "last": true, "bytes_raw": 0,
        "content_type": content_type, "content_encoding": content_encoding,
    }))
    .unwrap()
}

fn stream(events: &[Value]) -> Vec<u8> {
    let one = |event: &Value| match event["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let events: String = events.iter().map(one).collect();
    (events + "data: [DONE]\n\n").into_bytes()
}

fn read(content_type: &str, bytes: &[u8]) -> (Form, Value) {
    let readable: Readable = readable(&facts(content_type, None), bytes);
    let json = readable.json.map(|json| serde_json::from_str(json.get()).unwrap());
    (readable.form, json.unwrap_or_default())
}

fn chat() -> Vec<u8> {
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": choices});
    stream(&[
        json!({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}),
        chunk(
            json!([{"index": 0, "delta": {"role": "assistant", "content": "", "refusal": null}, "finish_reason": null}]),
        ),
        chunk(json!([{"index": 1, "delta": {"role": "assistant", "tool_calls": [
            {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}}]}}])),
        chunk(
            json!([{"index": 0, "delta": {"content": "Grüße, "}, "content_filter_results": {"hate": {"filtered": false}}}]),
        ),
        chunk(
            json!([{"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}}]),
        ),
        chunk(
            json!([{"index": 0, "delta": {"content": "Welt 🌍"}, "content_filter_results": {"hate": {"filtered": true}}}]),
        ),
        chunk(json!([{"index": 1, "delta": {"tool_calls": [
            {"index": 1, "id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            {"index": 0, "function": {"arguments": "\"Bern\"}"}}]}}])),
        chunk(json!([{"index": 2, "delta": {"refusal": "I can"}}])),
        chunk(json!([{"index": 2, "delta": {"refusal": "not."}, "finish_reason": "stop"}])),
        chunk(json!([{"index": 1, "delta": {}, "finish_reason": "tool_calls"}])),
        chunk(
            json!([{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": false}}}]),
        ),
        json!({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}),
    ])
}

#[test]
fn a_stream_of_chat_has_every_choice_with_its_text_refusal_and_tool_calls() {
    let (form, document) = read("Text/Event-Stream; charset=utf-8", &chat());
    assert_eq!(form, Form::Chat);
    assert_eq!((&document["object"], &document["model"]), (&json!("chat.completion"), &json!("gpt-4o")));
    assert_eq!(document["usage"]["completion_tokens"], 7);
    let choices = &document["choices"];
    assert_eq!(choices[0]["message"], json!({"role": "assistant", "content": "Grüße, Welt 🌍"}));
    assert_eq!(choices[0]["finish_reason"], "stop");
    assert_eq!(
        choices[0]["content_filter_results"]["hate"]["filtered"], true,
        "what a filter has found stays"
    );
    let calls = &choices[1]["message"]["tool_calls"];
    assert_eq!(calls[0]["function"], json!({"name": "weather", "arguments": "{\"city\":\"Bern\"}"}));
    assert_eq!((&calls[0]["id"], &calls[1]["id"]), (&json!("call_a"), &json!("call_b")));
    assert_eq!(choices[2]["message"]["refusal"], "I cannot.");
    assert_eq!(choices.as_array().unwrap().len(), 3);
}

#[test]
fn a_stream_of_completions_has_its_texts() {
    let chunk = |index: u64, text: &str| json!({"object": "text_completion", "choices": [{"index": index, "text": text}]});
    let (form, document) = read(EVENT_STREAM, &stream(&[chunk(1, "b"), chunk(0, "Hel"), chunk(0, "lo")]));
    assert_eq!((form, &document["choices"][0]["text"]), (Form::Chat, &json!("Hello")));
    assert_eq!(document["choices"][1]["text"], "b");
}

fn messages() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me "}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "see."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It is "}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "five."}}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"zone\": \"Eur"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "ope/Bern\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 42}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_stream_of_messages_has_its_thinking_text_and_tool_use() {
    let (form, message) = read(EVENT_STREAM, &stream(&messages()));
    assert_eq!(form, Form::Messages);
    assert_eq!(
        message["content"],
        json!([
            {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
            {"type": "text", "text": "It is five."},
            {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"zone": "Europe/Bern"}},
        ])
    );
    assert_eq!(
        (&message["stop_reason"], &message["usage"]),
        (&json!("tool_use"), &json!({"input_tokens": 3, "output_tokens": 42}))
    );
    // Cut within the input of the tool: the piece is given as it is.
    let (_, cut) = read(EVENT_STREAM, &stream(&messages()[..12]));
    assert_eq!(cut["content"][2]["partial_json"], "{\"zone\": \"Eur");
    let mut failed = messages();
    failed.truncate(9);
    failed.push(json!({"type": "error", "error": {"type": "overloaded_error"}}));
    let (_, failed) = read(EVENT_STREAM, &stream(&failed));
    assert_eq!(failed["errors"], json!([{"type": "overloaded_error"}]));
    assert_eq!(failed["content"][1]["text"], "It is ");
}

fn responses() -> Vec<Value> {
    let whole = json!({"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "whole"}]}]});
    vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "I look "}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "at it."}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "msg_1", "type": "message", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": {"type": "output_text", "text": ""}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hel"}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "lo"}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": {"id": "fc_1", "type": "function_call", "name": "f", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"a\""}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": ":1}"}),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"a\": 1}"}),
        json!({"type": "response.completed", "response": whole}),
    ]
}

#[test]
fn a_stream_of_responses_is_its_last_event_or_else_the_items_that_came() {
    let all = responses();
    let (form, whole) = read(EVENT_STREAM, &stream(&all));
    assert_eq!((form, &whole["output"][0]["content"][0]["text"]), (Form::Responses, &json!("whole")));
    let (_, cut) = read(EVENT_STREAM, &stream(&all[..13]));
    assert_eq!(
        cut["output"],
        json!([
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "I look at it."}]},
            {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            {"id": "fc_1", "type": "function_call", "name": "f", "arguments": "{\"a\": 1}"},
        ])
    );
    assert_eq!(read(EVENT_STREAM, &stream(&all[..11])).1["output"][2]["arguments"], "{\"a\"");
    let hostile = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": u64::MAX, "delta": "x"});
    assert_eq!(read(EVENT_STREAM, &stream(&[all[0].clone(), hostile])).0, Form::Responses);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is put together of a prefix is a prefix of what is put together of the whole.
    #[test]
    fn a_stream_may_be_cut_anywhere(at in 0.0..1.0_f64, which in 0..3_usize) {
        let bytes = [chat(), stream(&messages()), stream(&responses()[..13])][which].clone();
        let cut = &bytes[..(bytes.len() as f64 * at) as usize];
        let paths = ["/choices/0/message/content", "/content/1/text", "/output/1/content/0/text"];
        let text = |bytes: &[u8]| {
            let document = read(EVENT_STREAM, bytes).1;
            document.pointer(paths[which]).and_then(|text| text.as_str().map(str::to_owned))
        };
        let (whole, part) = (text(&bytes).unwrap(), text(cut).unwrap_or_default());
        prop_assert!(!whole.is_empty() && whole.starts_with(&part), "{part:?}");
    }

    #[test]
    fn no_bytes_are_too_odd(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        content_type in prop::sample::select(vec![EVENT_STREAM, "application/json", "", "image/png"]),
        coding in prop::sample::select(vec![None, Some("gzip"), Some("br, zstd"), Some("x")]),
    ) {
        let told = readable(&facts(content_type, coding), &bytes);
        let line = serde_json::to_string(&told).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(told.form == Form::Empty, bytes.is_empty());
    }
}

#[test]
fn json_is_as_it_was_sent_on_one_line() {
    let text = "{\n  \"a\": 1.0000000000000000000000001,\r\n\t\"a\" : \"b  \\\" \\\\\" , \"big\":123456789012345678901234567890 }\n";
    let told = readable(&facts("application/json", None), text.as_bytes());
    let wanted =
        "{\"a\":1.0000000000000000000000001,\"a\":\"b  \\\" \\\\\",\"big\":123456789012345678901234567890}";
    assert_eq!((told.form, told.json.unwrap().get()), (Form::Json, wanted));
}

#[test]
fn what_is_not_put_together_says_why() {
    let told = |content_type: &str, coding, bytes: &[u8]| {
        serde_json::to_value(readable(&facts(content_type, coding), bytes)).unwrap()
    };
    assert_eq!(told("text/plain", None, b"WEBVTT"), json!({"form": "text", "text": "WEBVTT"}));
    let cut = told("application/json", None, b"{\"a\":");
    assert_eq!((&cut["form"], &cut["text"]), (&json!("text"), &json!("{\"a\":")));
    assert!(cut["reason"].as_str().unwrap().contains("cut"));
    let sound = told("audio/mpeg", None, b"\xff\xfb");
    assert_eq!((&sound["base64"], &sound["reason"]), (&json!("//s="), &json!("it is no text")));
    assert_eq!(told("application/json", Some("rot13"), b"{}")["base64"], "e30=");
    let other =
        told(EVENT_STREAM, None, b"event: x\ndata: {\"type\":\"transcript.text.delta\"}\n\ndata: hello\n\n");
    assert_eq!(
        other["json"],
        json!([{"event": "x", "data": {"type": "transcript.text.delta"}}, {"data": "hello"}])
    );
}

#[test]
fn a_coding_is_undone_also_where_it_ends_early() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&chat()).unwrap();
    let whole = gzip.finish().unwrap();
    let told = readable(&facts(EVENT_STREAM, Some("gzip")), &whole);
    assert_eq!((told.form, told.reason), (Form::Chat, None));
    let cut = readable(&facts(EVENT_STREAM, Some("gzip")), &whole[..whole.len() - 20]);
    assert_eq!(cut.form, Form::Chat);
    assert!(cut.reason.unwrap().contains("ends early"));
}
