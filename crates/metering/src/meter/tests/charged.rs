//! Costs as the service names them: totals that do not add up, tools, units.

use serde_json::{Value, json};

use super::*;
use crate::usage::{Api, Progress, ToolTokens, Units};

fn chat(usage: &Value) -> Usage {
    let choice = json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"});
    let body = json!({"id": "c1", "model": MODEL, "choices": [choice], "usage": usage}).to_string();
    Exchange::json(&body).run()
}

/// The qualities of both sides, and the reasons.
pub(super) fn labels(usage: &Usage) -> (Quality, Quality, Vec<&str>) {
    let accounting = &usage.accounting;
    let reasons = accounting.reasons.iter().map(SmolStr::as_str).collect();
    (accounting.input_quality, accounting.output_quality, reasons)
}

#[test]
fn reasoning_beside_the_output_is_part_of_it() {
    let event = chat(&json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 420,
        "completion_tokens_details": {"reasoning_tokens": 300}}));
    let tokens = &event.tokens;
    assert_eq!((tokens.input, tokens.output, tokens.total), (Some(100), Some(320), Some(420)));
    assert_eq!((tokens.output_reasoning, event.accounting.reported_output), (Some(300), Some(320)));
    assert_eq!(labels(&event), (Quality::Exact, Quality::Exact, vec![]));
    assert_eq!(event.stream.parse_errors, 0);
}

#[test]
fn what_contradicts_itself_is_not_exact() {
    use Quality::{Estimated, Exact};
    let (input, output) = ("input:total_differs", "output:total_differs");
    for (usage, expected, errors) in [
        (
            json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 420}),
            (Estimated, Estimated, vec![input, output]),
            0,
        ),
        (
            json!({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 101}}),
            (Estimated, Exact, vec![input]),
            1,
        ),
        (
            json!({"prompt_tokens": 100, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 21}}),
            (Exact, Estimated, vec![output]),
            1,
        ),
        (
            json!({"prompt_tokens": 100, "input_tokens": 90, "completion_tokens": 20}),
            (Estimated, Exact, vec![input]),
            0,
        ),
        (
            json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}),
            (Exact, Exact, vec![]),
            0,
        ),
    ] {
        let event = chat(&usage);
        assert_eq!(labels(&event), expected, "{usage}");
        assert_eq!((event.tokens.input, event.tokens.output), (Some(100), Some(20)), "{usage}");
        assert_eq!(event.stream.parse_errors, errors, "{usage}");
    }
}

#[test]
fn what_may_stand_beside_the_input_is_no_exact_input() {
    let event = chat(&json!({"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 5000}));
    assert_eq!(labels(&event), (Quality::LowerBound, Quality::Exact, vec!["input:unknown_fields"]));
}

fn tool_usage(searches: u64) -> Value {
    json!({"image_gen": {"input_tokens": 50, "output_tokens": 7024, "total_tokens": 7074,
            "input_tokens_details": {"image_tokens": 20, "text_tokens": 30},
            "output_tokens_details": {"image_tokens": 7000, "text_tokens": 24}},
        "web_search": {"num_requests": searches}})
}

fn svg(model: &str, output: u64) -> Value {
    json!({"type": "image_generation_call", "status": "completed",
        "svg_usage": {"model": model, "input_tokens": 7, "output_tokens": output, "reasoning_tokens": 0, "total_tokens": 7 + output}})
}

fn response(status: &str, output: &[Value], tools: &Value) -> Value {
    json!({"id": "r", "object": "response", "model": "gpt-5-2025-08-07", "status": status, "output": output,
        "usage": {"input_tokens": 1820, "output_tokens": 210, "total_tokens": 2030}, "tool_usage": tools})
}

fn run(body: &str) -> Usage {
    let exchange = if body.starts_with('{') { Exchange::json(body) } else { Exchange::stream(body) };
    Exchange { api: Api::Responses, request: r#"{"model":"d","input":"Hello","stream":true}"#, ..exchange }
        .run()
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn image(output: u64) -> ToolTokens {
    ToolTokens {
        tool: "image_generation".into(),
        input: Some(50),
        output: Some(output),
        input_text: Some(30),
        input_image: Some(20),
        output_text: Some(24),
        output_image: Some(7000),
        ..ToolTokens::default()
    }
}

fn drawn(model: &str, input: u64, output: u64) -> ToolTokens {
    let (input, output) = (Some(input), Some(output));
    ToolTokens { tool: "svg".into(), model: Some(model.into()), input, output, ..ToolTokens::default() }
}

#[test]
fn what_tools_used_stands_beside_the_tokens() {
    let output = [svg("gpt-x", 40), svg("gpt-y", 3), svg("gpt-x", 2)];
    let whole = response("completed", &output, &tool_usage(3));
    let done = json!({"type": "response.output_item.done", "output_index": 2, "item": output[2]});
    let last = json!({"type": "response.completed", "response": whole});
    for body in [whole.to_string(), events(&[done, last.clone()]), events(&[last])] {
        let event = run(&body);
        assert_eq!((event.tokens.input, event.tokens.output), (Some(1820), Some(210)));
        assert_eq!(event.tools, [image(7024), drawn("gpt-x", 14, 42), drawn("gpt-y", 7, 3)]);
        assert_eq!(event.units, Units { web_searches: Some(3), ..Units::default() });
        assert_eq!(labels(&event), (Quality::Exact, Quality::Exact, vec![]));
    }
}

/// Images between the items make the response too long to be kept.
#[test]
fn what_tools_used_is_read_of_a_long_answer() {
    let picture = json!({"type": "image_generation_call", "result": "A".repeat(5 << 20)});
    let output = [svg("gpt-x", 40), picture, svg("gpt-y", 3)];
    let whole = response("completed", &output, &tool_usage(3));
    let done = |place: usize| json!({"type": "response.output_item.done", "item": output[place], "output_index": place});
    let last = json!({"type": "response.completed", "response": whole});
    for body in [whole.to_string(), events(&[done(0), done(1), done(2), last.clone()]), events(&[last])] {
        let event = run(&body);
        assert_eq!((event.tokens.input, event.tokens.output), (Some(1820), Some(210)));
        assert_eq!(event.tools, [image(7024), drawn("gpt-x", 7, 40), drawn("gpt-y", 7, 3)]);
        assert_eq!(event.units.web_searches, Some(3));
    }
    let mut long = svg("gpt-x", 40);
    long["result"] = json!("A".repeat(5 << 20));
    let event =
        run(&events(&[json!({"type": "response.output_item.done", "output_index": 1, "item": long})]));
    assert_eq!(event.tools, [drawn("gpt-x", 7, 40)]);
}

#[test]
fn a_cut_answer_has_what_was_said_by_then() {
    let created = json!({"type": "response.created", "response": response("in_progress", &[], &json!({"web_search": {"num_requests": 0}}))});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": svg("gpt-x", 40)});
    let event = run(&events(&[created, done]));
    assert_eq!((event.stream.outcome, event.tools), (Outcome::UpstreamEof, vec![drawn("gpt-x", 7, 40)]));
    assert_eq!(event.units, Units::default(), "no search by then is not no search");
    let none = run(&response("completed", &[], &json!({"web_search": {"num_requests": 0}})).to_string());
    assert_eq!((none.tools.len(), none.units.web_searches), (0, Some(0)));
}

#[test]
fn a_checkpoint_keeps_tools_and_units_and_an_old_one_has_none() {
    let mut meter = Meter::new(draft(Api::Responses), FREE);
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    let last = json!({"type": "response.completed", "response": response("completed", &[], &tool_usage(3))});
    meter.response_bytes(events(&[last]).as_bytes(), usize::MAX);
    let stored = serde_json::to_value(meter.progress().0).unwrap();
    let crashed = draft(Api::Responses).crashed(serde_json::from_value(stored.clone()).unwrap());
    assert_eq!((crashed.tools, crashed.units.web_searches), (vec![image(7024)], Some(3)));
    let mut old = stored;
    old.as_object_mut().unwrap().retain(|name, _| name != "tools" && name != "units");
    let old: Progress = serde_json::from_value(old).unwrap();
    let crashed = draft(Api::Responses).crashed(Some(old));
    assert_eq!((crashed.tools.len(), crashed.units, crashed.tokens.input), (0, Units::default(), Some(1820)));
}

/// An event of 1.0, as it stands in ledgers and topics.
#[test]
fn an_event_of_the_last_version_is_read() {
    let event = chat(&json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}));
    let mut old = serde_json::to_value(&event).unwrap();
    assert!(old.get("tools").is_none() && old.get("units").is_none(), "absent: not known");
    old["schema_version"] = json!("1.0");
    let read: Usage = serde_json::from_value(old).unwrap();
    assert_eq!(Usage { schema_version: "1.1".into(), ..read }, event);
}

fn other(api: Api, body: &Value) -> Usage {
    Exchange { api, request: "", ..Exchange::json(&body.to_string()) }.run()
}

#[test]
fn zeros_are_a_word_only_where_the_call_is_what_is_billed() {
    let zeros = json!({"usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}});
    let image = other(Api::Images, &zeros);
    assert_eq!((image.tokens.input, image.tokens.output), (Some(0), Some(0)));
    assert_eq!(labels(&image), (Quality::Exact, Quality::Exact, vec![]));
    let unknown = other(Api::Other, &zeros);
    assert_eq!((unknown.tokens.input, unknown.accounting.reasons.len()), (None, 2));
    let chat = chat(&json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}));
    assert_eq!(chat.accounting.input_source, Source::Computed);
    let cut = Exchange {
        api: Api::Images,
        request: "",
        ..Exchange::json(r#"{"usage":{"input_tokens":0,"output_tokens":0},"data":["#)
    };
    assert_eq!(Exchange { ending: Ending::UpstreamError, ..cut }.run().tokens.input, None, "it did not end");
}

#[test]
fn time_that_was_heard_is_a_unit_and_no_tokens() {
    let event = other(Api::Audio, &json!({"text": "teal", "usage": {"type": "duration", "seconds": 9}}));
    assert_eq!((event.tokens.input, event.units.audio_ms), (None, Some(9_000)));
    assert_eq!(labels(&event), (Quality::Unknown, Quality::Unknown, vec![]));
    let silent = other(Api::Audio, &json!({"text": "teal"}));
    assert_eq!(labels(&silent).2, ["input:no_usage", "output:no_usage"]);
}

/// A call of a chat, in a chunk of its own.
fn call(call: &Value) -> String {
    event(&json!({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": null}).to_string())
}

#[test]
fn calls_that_nobody_numbers_are_told_apart_and_not_exact() {
    let said = |index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let mut part = json!({"function": {"arguments": arguments}});
        if let Some(index) = index {
            part["index"] = json!(index);
        }
        if let Some(id) = id {
            part["id"] = json!(id);
        }
        if let Some(name) = name {
            part["function"]["name"] = json!(name);
        }
        call(&part)
    };
    let output = |chunks: &[String]| {
        let body = [chunks.concat(), finish(0, "tool_calls"), DONE.to_owned()].concat();
        let event = Exchange::stream(&body).run();
        (event.tokens.output, event.accounting.output_quality)
    };
    let two = output(&[
        said(Some(0), Some("a"), Some("find"), r#"{"x":1}"#),
        said(Some(1), Some("b"), Some("find"), r#"{"x":2}"#),
    ]);
    assert_eq!(two.1, Quality::Exact);
    let doubted = (two.0, Quality::Estimated);
    for index in [None, Some(0)] {
        let ids = [
            said(index, Some("a"), Some("find"), r#"{"x":1}"#),
            said(index, Some("b"), Some("find"), r#"{"x":2}"#),
        ];
        assert_eq!(output(&ids), doubted, "two ids");
        let names =
            [said(index, None, Some("find"), r#"{"x":1}"#), said(index, None, Some("mind"), r#"{"x":2}"#)];
        let (tokens, quality) = output(&names);
        assert!(tokens > Some(20) && quality == Quality::Estimated, "two names: {tokens:?}");
    }
    let one = output(&[said(Some(0), Some("a"), Some("find"), r#"{"x":"#), said(Some(0), None, None, "1}")]);
    assert_eq!(one.1, Quality::Exact);
    let again = [said(Some(0), Some("a"), Some("find"), r#"{"x":"#), said(Some(0), Some("a"), None, "1}")];
    assert_eq!(output(&again), one, "the same id again is the same call");
    let named =
        [said(Some(0), Some("a"), Some("find"), r#"{"x":"#), said(Some(0), Some("a"), Some("find"), "1}")];
    assert_eq!(output(&named), (one.0, Quality::Estimated), "the same name again is no more of the name");
}

#[test]
fn the_input_of_a_custom_tool_counts_in_a_chat() {
    let n = |text: &str| crate::tokens::count(crate::tokens::Encoding::O200kBase, text);
    let patch = |input: &str| json!({"index": 0, "custom": {"input": input}});
    let mut first = patch("*** Begin");
    (first["id"], first["type"], first["custom"]["name"]) = (json!("c"), json!("custom"), json!("patch"));
    let body = [call(&first), call(&patch(" Patch\n")), finish(0, "tool_calls"), DONE.to_owned()].concat();
    let expected = n(" to=functions.patch") + n("*** Begin Patch\n");
    for (model, whole) in [(MODEL, true), ("gpt-5-2025-08-07", true), (MODEL, false)] {
        let body = body.replace(MODEL, model);
        let body = if whole { body.as_str() } else { body.split("\"finish_reason\":\"").next().unwrap() };
        let event = Exchange::stream(body).run();
        assert_eq!(event.tokens.output, Some(expected), "{model} {whole}");
        assert_eq!(event.accounting.output_quality, Quality::LowerBound, "{model} {whole}");
        assert!(event.accounting.reasons.iter().any(|reason| reason == "output:custom_tool"));
    }
    let message = json!({"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin Patch\n"}}]});
    let document =
        json!({"model": MODEL, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]});
    assert_eq!(Exchange::json(&document.to_string()).run().tokens.output, Some(expected));
}
