//! Requests of our own: each rule with its number.

use serde_json::{Value, json};

use super::*;
use crate::prompt;
use crate::prompt::PromptCount;
use crate::prompt::schema::format_text;
use crate::usage::{Api, Reason, RuleClass};

fn count(request: &Value, model: &str) -> PromptCount {
    prompt::count(Api::Responses, request.to_string().as_bytes(), model)
}

fn tokens(request: &Value, model: &str) -> u64 {
    count(request, model).tokens.unwrap()
}

fn n(text: &str) -> u64 {
    crate::tokens::count(crate::tokens::Encoding::O200kBase, text)
}

fn function() -> Value {
    json!({"type": "function", "name": "find", "description": "Finds", "strict": true,
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}})
}

fn history(id: &str) -> Value {
    json!([
        {"role": "user", "content": "Find it"},
        {"type": "function_call", "id": id, "call_id": "c1", "name": "dice", "arguments": "{ \"a\": 1 }"},
        {"type": "function_call_output", "call_id": "c1", "output": "six"},
    ])
}

#[test]
fn texts_and_messages_are_the_same() {
    let text = json!({"input": "Hello", "instructions": "Be kind."});
    let messages = json!({"input": [
        {"role": "system", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hel"}, {"type": "input_text", "text": "lo"}]},
    ]});
    for request in [&text, &messages] {
        assert_eq!(tokens(request, "gpt-4o"), 3 + 4 + n("Be kind.") + 4 + 1);
        assert_eq!(tokens(request, "gpt-5"), 2 + 4 + n("Be kind.") + 4 + 1);
        assert_eq!(
            (count(request, "gpt-4o").reasons, count(request, "gpt-4o").class),
            (vec![], Some(RuleClass::Text))
        );
    }
    let parts = count(&text, "gpt-4o").parts;
    let parts: Vec<_> = parts.iter().map(|part| (part.part, part.number)).collect();
    assert_eq!(parts, [("start of the answer", None), ("instructions", None), ("user message", Some(1))]);
    let said = json!({"input": [{"role": "assistant", "content": "Hello"}]});
    assert_eq!((tokens(&said, "gpt-4o"), tokens(&said, "gpt-5")), (3 + 5, 2 + 5 + 2));
}

#[test]
fn tools_and_choice() {
    let plain = json!({"input": "Hello"});
    let mut request = json!({"input": "Hello", "tools": [function()]});
    let text = request::tools_text(request.as_object().unwrap()).text;
    assert_eq!(tokens(&request, "gpt-4o"), tokens(&plain, "gpt-4o") + n(&text) - 3);
    assert_eq!(tokens(&request, "gpt-5"), tokens(&plain, "gpt-5") + n(&text) + 3);
    for (model, more) in
        [("o1", 0), ("o3-pro", 0), ("o4-mini", 0), ("codex-mini", 1), ("gpt-5.1-codex-mini", 6)]
    {
        assert_eq!(tokens(&request, model), tokens(&plain, model) + n(&text) + more, "{model}");
    }
    let offered = tokens(&request, "gpt-4o");
    for choice in [json!("required"), json!({"type": "function", "name": "find"})] {
        request["tool_choice"] = choice;
        assert_eq!(tokens(&request, "gpt-4o"), offered + n(" to=functions.find") + 4);
        assert_eq!(count(&request, "gpt-4o").reasons, ["named_tool_choice"]);
        assert_eq!(tokens(&request, "o3"), tokens(&plain, "o3") + n(&text));
    }
    request["parallel_tool_calls"] = json!(false);
    assert_eq!(count(&request, "gpt-4o").reasons, ["named_tool_choice"]);
    assert!(count(&request, "gpt-5-nano").reasons.contains(&Reason::ParallelCalls));
    request["tool_choice"] = json!("required");
    request["tools"] = json!([function(), {"type": "function", "name": "get"}]);
    let two = tokens(&request, "gpt-4o");
    request["tool_choice"] = json!("auto");
    assert_eq!(tokens(&request, "gpt-4o"), two);
}

#[test]
fn a_schema_is_text() {
    let format =
        json!({"type": "json_schema", "name": "out", "schema": {"type": "object", "properties": {}}});
    let request = json!({"input": "Hello", "text": {"format": format}});
    let text = format_text(format.as_object().unwrap());
    assert_eq!(tokens(&request, "gpt-4o"), 8 + n(&text) + 1);
    assert_eq!(tokens(&request, "gpt-5"), 7 + n(&text));
    assert_eq!(count(&request, "gpt-4o").class, Some(RuleClass::JsonSchema));
    assert_eq!(tokens(&request, "o4-mini"), 7 + n(&text));
    let dated = |schema: Value| json!({"input": "Hello", "text": {"format": {"type": "json_schema", "name": "out", "schema": schema}}});
    let with = dated(json!({"type": "string", "format": "date-time"}));
    assert_eq!(tokens(&with, "gpt-4o"), tokens(&dated(json!({"type": "string"})), "gpt-4o"));
    assert_eq!(count(&with, "gpt-4o").reasons, [""; 0]);
}

#[test]
fn a_call_that_is_sent_back() {
    let before = n("Find it") + 4;
    let sent = n(" to=functions.dice") + n("{ \"a\": 1 }");
    let call = n(" to=functions.dice") + n("{\"a\":1}");
    assert_ne!(sent, call, "arguments are as they were sent, but for gpt-5.4 and later");
    let result = n("functions.dice") + n("six");
    let of = |id: &str, model: &str| {
        let count = count(&json!({"input": history(id)}), model);
        (count.tokens.unwrap(), count.reasons)
    };
    // Its name is counted joined to what stands before it: `.d` and `ice`.
    assert_eq!(n("functions.dice"), n("dice") + 2);
    assert_eq!(of("", "gpt-4o"), (3 + before + 4 + sent + 3 + result, vec![]));
    assert_eq!(of("fc_1", "gpt-4o"), (3 + before + 7 + sent + 3 + result, vec![Reason::ReplayedCall]));
    assert_eq!(of("", "gpt-5.2"), (2 + before + 8 + sent + 5 + result, vec![Reason::ReplayedCall]));
    assert_eq!(of("", "o4-mini"), (2 + before + 8 + sent + 5 + result, vec![Reason::ReplayedCall]));
    assert_eq!(of("", "o3"), (2 + before + 4 + sent + 3 + result, vec![Reason::ReplayedCall]));
    assert_eq!(of("", "gpt-4.1-nano").1, ["replayed_call"]);
    for id in ["", "fc_1"] {
        assert_eq!(of(id, "gpt-5.4-nano"), (2 + before + 11 + call + 5 + result, vec![]));
    }
}

#[test]
fn calls_made_together() {
    let call = |id: &str, name: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{}"});
    let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "1"});
    let request = json!({"input": [call("a", "f"), call("b", "g"), result("a"), result("b")]});
    let results = n("functions.f") + n("functions.g") + 2;
    let apart = n(" to=functions.f") + n(" to=functions.g") + 2 * n("{}");
    assert_eq!(tokens(&request, "gpt-4o"), 3 + 8 + apart + 6 + results);
    assert_eq!(count(&request, "gpt-4o").reasons, [""; 0]);
    let wrapper = r#"{"tool_uses":[{"recipient_name":"functions.f","parameters":{}},{"recipient_name":"functions.g","parameters":{}}]}"#;
    let wrapped = n(" to=multi_tool_use.parallel") + n(wrapper) + 1;
    assert_eq!(tokens(&request, "gpt-5.4"), 2 + 11 + wrapped + 10 + results);
    assert_eq!(count(&request, "gpt-5.4").reasons, ["parallel_calls"]);
}

#[test]
fn a_message_of_nothing() {
    let said = |content: Value| json!({"input": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": content}]});
    for model in ["gpt-4o", "gpt-5", "o3"] {
        let alone = tokens(&json!({"input": "Hello"}), model);
        assert_eq!(tokens(&said(json!([])), model), alone, "{model}");
        assert_eq!(count(&said(json!([])), model).reasons, ["empty_message"]);
        assert!(tokens(&said(json!("")), model) >= alone + 4);
    }
    assert_eq!(tokens(&json!({"input": "Hello"}), "gpt-4-0613"), 7);
}

#[test]
fn what_the_service_remembers_is_unknown() {
    for state in [
        json!({"previous_response_id": "r", "input": "Hello"}),
        json!({"conversation": {"id": "c"}, "input": "Hello"}),
        json!({"prompt": {"id": "p"}}),
        json!({"input": [{"type": "item_reference", "id": "m"}]}),
    ] {
        let count = count(&state, "gpt-4o");
        assert_eq!((count.tokens, count.reasons), (None, vec![Reason::ServerState]), "{state}");
    }
    assert_eq!(count(&json!({"input": []}), "gpt-4o").reasons, ["unreadable"]);
    let none = json!({"previous_response_id": null, "conversation": null, "prompt": null, "input": "Hello"});
    assert_eq!((count(&none, "gpt-4o").tokens, count(&none, "gpt-4o").reasons), (Some(8), vec![]));
}

#[test]
fn nothing_unknown_is_called_exact() {
    let part = |part: Value| json!({"input": [{"role": "user", "content": [part]}]});
    let item = |item: Value| json!({"input": [{"role": "user", "content": "x"}, item]});
    let with = |key: &str, value: Value| json!({"input": "x", key: value});
    for (request, reason) in [
        (part(json!({"type": "input_image", "image_url": "data:image/png;base64,AA"})), "image"),
        (part(json!({"type": "input_image", "image_url": "https://example.org/a.png"})), "remote_image"),
        (part(json!({"type": "input_image", "file_id": "f"})), "file"),
        (part(json!({"type": "input_file", "file_data": "AA"})), "file"),
        (part(json!({"type": "input_audio"})), "audio"),
        (part(json!({"type": "hologram"})), "unknown_fields"),
        (item(json!({"role": "oracle", "content": "x"})), "unknown_fields"),
        (item(json!({"role": "user", "content": "x", "mood": "bad"})), "unknown_fields"),
        (item(json!({"type": "reasoning", "summary": []})), "reasoning_items"),
        (item(json!({"type": "compaction"})), "compaction"),
        (item(json!({"type": "web_search_call"})), "hosted_tool"),
        (item(json!({"type": "mcp_list_tools"})), "hosted_tool"),
        (item(json!({"type": "additional_tools"})), "hosted_tool"),
        (item(json!({"type": "telepathy"})), "unknown_fields"),
        (item(json!({"type": 7})), "unknown_fields"),
        (item(json!({"type": "function_call_output", "call_id": "lost", "output": "x"})), "unknown_fields"),
        (
            item(json!({"type": "function_call", "call_id": "a", "name": "f", "namespace": "n"})),
            "unknown_fields",
        ),
        (with("tools", json!([{"type": "web_search"}])), "hosted_tool"),
        (with("tools", json!([{"type": "function", "name": "f", "defer_loading": true}])), "tool_schema"),
        (with("tool_choice", json!({"type": "allowed_tools"})), "unknown_fields"),
        (with("reasoning", json!({"mode": "pro"})), "unknown_fields"),
        (with("text", json!({"format": {"type": "grammar"}})), "unknown_fields"),
        (with("truncation", json!("auto")), "unknown_fields"),
        (with("context_management", json!([{"type": "compaction"}])), "compaction"),
        (with("warp", json!(9)), "unknown_fields"),
        (json!({"input": "x", "tools": [function()], "tool_choice": "none"}), "tool_choice"),
    ] {
        let count = count(&request, "gpt-4o");
        assert!(count.tokens.is_some() && count.reasons == [reason], "{request}: {count:?}");
    }
    for model in ["gpt-4-turbo", "o3-deep-research", "gpt-5.9", "gpt-4o-nova", "gpt-oss-20b"] {
        assert_eq!(count(&json!({"input": "x"}), model).reasons, ["unknown_model"], "{model}");
    }
    let free = json!({"input": "x", "store": false, "include": ["reasoning.encrypted_content"], "stream": true,
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "reasoning": {"effort": "low", "summary": null},
        "truncation": "disabled", "tool_choice": "none", "metadata": {}, "user": "u"});
    assert_eq!(count(&free, "gpt-4o").reasons, [""; 0]);
}

#[test]
fn the_first_weeks() {
    let request = json!({"input": "Hello"});
    let at = |created, functions| {
        let count = count(&request, "gpt-4o").answered_at(Api::Responses, "gpt-4o", created, functions);
        let sum: i64 = count.parts.iter().map(|part| part.tokens).sum();
        assert_eq!(count.tokens, u64::try_from(sum).ok());
        (count.tokens.unwrap(), count.reasons)
    };
    assert_eq!(at(1_742_000_000, false), (8 + 18, vec![Reason::EarlyResponses]));
    assert_eq!(at(1_742_000_000, true), (8 + 216, vec![Reason::EarlyResponses]));
    // Before the API opened, nothing is a response of the service.
    assert_eq!(at(1_741_476_542, false), (8, vec![Reason::EarlyResponses]));
    assert_eq!(at(1_760_000_000, true), (8, vec![]));
    let chat = count(&request, "gpt-4o").answered_at(Api::ChatCompletions, "gpt-4o", 1_742_000_000, false);
    assert_eq!(chat.tokens, Some(8));
}
