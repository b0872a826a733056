//! The rules of chat prompts, each as the difference that it makes to a request.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::prompt::{PromptCount, count};
use crate::tokens::{self, Encoding};
use crate::usage::Api;

const GPT_4O: &str = "gpt-4o-2024-08-06";

fn counted(request: &Value, model: &str) -> PromptCount {
    count(Api::ChatCompletions, request.to_string().as_bytes(), model)
}

fn tokens_of(messages: &Value, model: &str) -> i64 {
    counted(&json!({"messages": messages}), model).tokens.unwrap() as i64
}

/// Tokens of a text for gpt-4o and later.
fn n(text: &str) -> i64 {
    tokens::count(Encoding::O200kBase, text) as i64
}

/// The request, and what it costs more than one without `changes`.
fn difference(messages: &Value, changes: &Value, model: &str) -> i64 {
    let mut request = json!({"messages": messages});
    let before = counted(&request, model).tokens.unwrap() as i64;
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    counted(&request, model).tokens.unwrap() as i64 - before
}

fn user() -> Value {
    json!([{"role": "user", "content": "Hello"}])
}

#[test]
fn names_are_part_of_the_role() {
    for name in ["Ann", "user", "critic", "A long name"] {
        let named = json!([{"role": "user", "name": name, "content": "Hello"}]);
        let more = tokens_of(&named, GPT_4O) - tokens_of(&user(), GPT_4O);
        assert_eq!(more, n(&format!("user:{name}")) - n("user"), "{name}");
    }
}

#[test]
fn tools_are_joined_to_the_system_text() {
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "description": "Finds"}}]});
    let text = "# Tools\n\n## functions\n\nnamespace functions {\n\n// Finds\ntype f = () => any;\n\n} // namespace functions";
    let system = json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]);
    let joined = n(&format!("Be kind.\n\n{text}")) - n("Be kind.");
    assert_eq!(difference(&system, &tools, GPT_4O), joined - 1);
    assert_eq!(difference(&user(), &tools, GPT_4O), 4 + n(text) - 1);
    assert_eq!(difference(&system, &tools, "gpt-5"), joined + 84);
    assert_eq!(difference(&user(), &tools, "gpt-5"), n(text) + 85);
    assert_eq!(difference(&user(), &tools, "o3-mini"), 4 + n(text));
    assert_eq!(difference(&user(), &tools, "o4-mini"), 4 + n(text));
    assert_eq!(difference(&system, &tools, "o3-mini"), joined);
    assert_eq!(difference(&system, &tools, "o4-mini"), joined + 3);
    assert_eq!(difference(&system, &tools, "gpt-5-chat-latest"), joined - 1);
}

#[test]
fn a_schema_is_named_at_the_head_of_the_answer() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let format = |name| json!({"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}});
    let spoken = json!([{"role": "assistant", "content": "{}"}, {"role": "user", "content": "Hello"}]);
    for name in ["a", "a_name_of_many_tokens"] {
        let text = 4 + n(&format!("# Response Formats\n\n## {name}\n\n{schema}"));
        let head = n(name) + 2;
        assert_eq!(difference(&user(), &format(name), GPT_4O), text + head, "written into the prompt");
        assert_eq!(difference(&user(), &format(name), "gpt-5"), text, "written by the model");
        assert_eq!(difference(&spoken, &format(name), GPT_4O), text + 2 * head, "earlier answers have it");
    }
}

#[test]
fn calls_and_their_results() {
    let call = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{\"a\": 1}"}});
    let result = |id: &str, content: &str| json!({"role": "tool", "tool_call_id": id, "content": content});
    let one = json!([{"role": "assistant", "content": null, "tool_calls": [call("1", "get_it")]}, result("1", "é")]);
    let called = n(" to=functions.get_it") + n("{\"a\":1}");
    let answered = 6 + n("get_it") + n("é");
    assert_eq!(tokens_of(&one, GPT_4O), 3 + 4 + called + answered);
    assert_eq!(tokens_of(&one, "gpt-5"), 2 + 6 + 4 + called + answered);
    let two = json!([{"role": "assistant", "tool_calls": [call("1", "get_it"), call("2", "g")]}, result("2", "é"), result("1", "{\"b\":[]}")]);
    let wrapper = n(" to=multi_tool_use.parallel")
        + n(
            r#"{"tool_uses":[{"recipient_name":"functions.get_it","parameters":{"a":1}},{"recipient_name":"functions.g","parameters":{"a":1}}]}"#,
        );
    assert_eq!(tokens_of(&two, GPT_4O), 3 + 4 + wrapper + 10 + n(r#"["é", {"b": []}]"#));
    let list = n(r#"["é", {"b": []}]"#);
    assert_eq!(tokens_of(&two, "gpt-5"), 2 + 6 + 4 + wrapper + 10 + list);
    let named = json!([{"role": "assistant", "name": "critic", "content": null, "tool_calls": [call("1", "get_it")]}, result("1", "é")]);
    assert_eq!(tokens_of(&named, GPT_4O), 3 + 4 + called + n("critic") + answered, "a name beside a call");
    assert_eq!(tokens_of(&one, "o4-mini") - tokens_of(&one, "o3-mini"), 6);
    assert_eq!(tokens_of(&two, "gpt-4o-mini"), 3 + 4 + wrapper + 10 + n(r#"["\u00e9", {"b": []}]"#));
}

/// A name that many messages refer to is counted once; else this would take minutes.
#[test]
fn long_names_are_counted_once() {
    let long = "name ".repeat(100_000);
    let call = json!({"id": "1", "type": "function", "function": {"name": long, "arguments": ""}});
    let mut messages = vec![json!({"role": "assistant", "tool_calls": [call]})];
    for _ in 0..5_000 {
        messages.push(json!({"role": "tool", "tool_call_id": "1", "content": "x"}));
        messages.push(json!({"role": "assistant", "content": "x"}));
    }
    let format = json!({"type": "json_schema", "json_schema": {"name": long}});
    let counted = counted(&json!({"messages": messages, "response_format": format}), GPT_4O);
    assert!(counted.tokens > Some(2 * 5_000 * 100_000));
}

#[test]
fn a_choice_by_name_begins_the_answer() {
    let named = json!({"tool_choice": {"type": "function", "function": {"name": "get_it"}}});
    assert_eq!(difference(&user(), &named, GPT_4O), n(" to=functions.get_it") + 4);
    for model in ["gpt-5", "o1", "o3-mini", "o4-mini"] {
        assert_eq!(difference(&user(), &named, model), 0, "{model}");
    }
    let early = tokens::count(Encoding::Cl100kBase, " to=functions.get_it") as i64;
    assert_eq!(difference(&user(), &named, "gpt-4-0613"), early + 1);
    assert_eq!(difference(&user(), &named, "gpt-4-turbo"), early + 4);
    assert_eq!(difference(&user(), &json!({"tool_choice": "auto"}), GPT_4O), 0);
}

#[test]
fn what_was_refused_before_is_text() {
    let refused = json!([{"role": "assistant", "content": null, "refusal": "I will not"}]);
    let said = json!([{"role": "assistant", "content": "I will not", "refusal": null}]);
    assert_eq!(tokens_of(&refused, GPT_4O), tokens_of(&said, GPT_4O));
    assert_eq!(counted(&json!({"messages": refused}), GPT_4O).reasons, [""; 0]);
}

#[test]
fn an_image_parts_the_texts_beside_it() {
    let image =
        json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let content = |parts: Value| json!([{"role": "user", "content": parts}]);
    assert!(n("Hello") < n("Hel") + n("lo"));
    let apart = content(json!([text("Hel"), image, text("lo")]));
    assert_eq!(tokens_of(&apart, GPT_4O), 3 + 4 + n("Hel") + n("lo") + 85);
    let together = content(json!([text("Hel"), text("lo"), image]));
    assert_eq!(tokens_of(&together, GPT_4O), 3 + 4 + n("Hello") + 85);
}

/// A request in which everything is proven.
fn proven() -> Value {
    json!({
        "model": "gpt-4o", "temperature": 0.1, "stream": true, "user": null,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "Finds", "parameters": {"type": "object", "properties": {"a": {"type": "string", "title": "A"}}}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}},
    })
}

/// An unknown key makes the count an estimate, wherever it stands.
#[test]
fn unknown_keys_are_found_at_any_depth() {
    assert_eq!(counted(&proven(), GPT_4O).reasons, Vec::<&str>::new());
    let places = [
        "",
        "/messages/0",
        "/messages/1/content/0",
        "/messages/2/tool_calls/0",
        "/messages/2/tool_calls/0/function",
        "/messages/3",
        "/tools/0",
        "/tools/0/function",
        "/tools/0/function/parameters",
        "/tools/0/function/parameters/properties/a",
        "/response_format",
        "/response_format/json_schema",
        "/response_format/json_schema/schema",
        "/response_format/json_schema/schema/properties/a",
    ];
    for place in places {
        let mut request = proven();
        request.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("warp".to_owned(), json!(9));
        assert_eq!(counted(&request, GPT_4O).reasons.len(), 1, "{place}");
    }
}

#[test]
fn what_was_not_recorded_is_an_estimate() {
    let with = |pointer: &str, value: Value| {
        let mut request = proven();
        *request.pointer_mut(pointer).unwrap() = value;
        request
    };
    for (request, model, reason) in [
        (proven(), "gpt-5", "json_schema"),
        (proven(), "gpt-4", "tool_schema"),
        (with("/messages/2/content", json!("I look")), GPT_4O, "tool_history"),
        (with("/messages/3/role", json!("function")), GPT_4O, "tool_history"),
        (with("/tool_choice", json!("none")), GPT_4O, "tool_choice"),
        (with("/tool_choice", json!({"type": "allowed_tools"})), GPT_4O, "unknown_fields"),
        (with("/tool_choice", json!("none")), "o3-mini", "tool_choice"),
        (proven(), "o4-mini", "tool_history"),
        (proven(), "gpt-5.4", "unknown_model"),
        (proven(), "gpt-5-chat", "unknown_model"),
        (with("/messages/1/content", json!(1)), GPT_4O, "unknown_fields"),
        (with("/messages/1", json!("Hello")), GPT_4O, "unknown_fields"),
        (with("/tools", json!({})), GPT_4O, "unknown_fields"),
    ] {
        let reasons = counted(&request, model).reasons;
        assert!(reasons.iter().any(|found| *found == reason), "{reason} is not in {reasons:?}");
    }
}

/// Any JSON, with the keys that the rules look for.
fn json_like(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let word = move || proptest::sample::select(words);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

const WORDS: &[&str] = &[
    "role",
    "user",
    "assistant",
    "tool",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function",
    "arguments",
    "id",
    "type",
    "text",
    "image_url",
    "url",
    "detail",
    "data:image/png;base64,iVBO",
    "parameters",
    "properties",
    "object",
    "array",
    "string",
    "items",
    "anyOf",
    "enum",
    "const",
    "default",
    "$ref",
    "#/$defs/A",
    "$defs",
    "A",
    "required",
    "title",
    "description",
    "format",
    "additionalProperties",
    "json_schema",
    "schema",
    "allOf",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing panics, and the parts are the whole.
    #[test]
    fn parts_add_up(values in prop::collection::vec(json_like(WORDS), 5), model in prop::sample::select(&["gpt-4o", "gpt-5", "gpt-4", "o3-mini"][..])) {
        let [content, message, schema, choice, format] = values.try_into().unwrap();
        let request = json!({
            "messages": [{"role": "user", "content": content}, message],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema.clone()}}, schema],
            "tool_choice": choice,
            "response_format": {"type": "json_schema", "json_schema": format},
        });
        let counted = counted(&request, model);
        if let Some(tokens) = counted.tokens {
            let sum: i64 = counted.parts.iter().map(|part| part.tokens).sum();
            prop_assert_eq!(i64::try_from(tokens).unwrap(), sum.max(0));
        }
    }
}
