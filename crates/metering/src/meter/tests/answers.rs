//! The cost of chat completions, and what is said of the number.

use super::*;

/// Quality, reasons and number of the output of one response of gpt-4o, or of a model that it names.
fn answered(rules: Rules, more: &str, choice: &str) -> (Quality, String, Option<u64>) {
    let request = REQUEST.replacen('{', &format!("{{{more}"), 1);
    let model = if choice.contains("\"model\"") { "" } else { r#""model":"gpt-4o-2024-08-06","# };
    let body = format!(r#"{{{model}"choices":[{{"index":0,{choice}}}]}}"#);
    let event = Exchange { rules, request: &request, ..Exchange::json(&body) }.run();
    let reasons = event.accounting.reasons.into_iter().filter(|reason| reason.starts_with("output:"));
    (event.accounting.output_quality, reasons.collect::<Vec<_>>().join(" "), event.tokens.output)
}

const SAID: &str = r#""message":{"content":"Hello, world"},"finish_reason":"stop""#;

#[test]
fn a_stop_sequence_may_have_been_met() {
    let exact = |tokens| (Quality::Exact, String::new(), Some(tokens));
    let estimated = |tokens| (Quality::Estimated, "output:stop_sequence".to_owned(), Some(tokens));
    let stop = r#""stop":["\nQ:"],"#;
    assert_eq!(answered(FREE, stop, SAID), estimated(3));
    let then = format!(r#"{SAID}}}],"created":1748000000,"x":[{{"y":0"#);
    assert_eq!(answered(FREE, stop, &then), exact(3), "it was not billed then");
    assert_eq!(answered(AZURE, stop, SAID), estimated(4));
    let older = format!(r#"{SAID}}}],"model":"gpt-4-0613","x":[{{"y":0"#);
    assert_eq!(answered(FREE, stop, &older), estimated(3));
    let call = r#""message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls""#;
    assert_eq!(answered(AZURE, stop, call).0, Quality::Exact);
    let schema = |stop: &str, strict: bool| {
        format!(r#"{stop}"response_format":{{"type":"json_schema","json_schema":{{"strict":{strict}}}}},"#)
    };
    let json = r#""message":{"content":"{\"a\":1}"},"finish_reason":"stop""#;
    assert_eq!(answered(AZURE, &schema(stop, true), json).0, Quality::Exact);
    assert_eq!(answered(AZURE, &schema(stop, false), json).0, Quality::Estimated);
    assert_eq!(answered(AZURE, &schema(r#""stop":",","#, true), json).0, Quality::Estimated);
    assert_eq!(answered(AZURE, &schema(stop, true), SAID).0, Quality::Estimated);
}

#[test]
fn an_answer_that_length_cut_is_as_long_as_its_limit() {
    let cut = |limit: &str, text: &str| {
        let choice = format!(r#""message":{{"content":"{text}"}},"finish_reason":"length""#);
        answered(AZURE, limit, &choice).2
    };
    assert_eq!(cut("", "Hello, world"), Some(3));
    assert_eq!(cut(r#""max_tokens":4,"#, "Hello, world"), Some(4));
    assert_eq!(cut(r#""max_completion_tokens":2,"#, "Hello, world"), Some(2));
    assert_eq!(cut(r#""max_tokens":400,"#, "Hello, world"), Some(3), "the window was full");
    let call = r#""message":{"tool_calls":[{"function":{"name":"find","arguments":"{\"a\":[1"}}]},"finish_reason":"length""#;
    assert_eq!(answered(AZURE, r#""max_tokens":13,"#, call).2, Some(13));
}

#[test]
fn a_call_that_was_asked_for_costs_its_arguments() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}],"#;
    let named = format!(r#"{tools}"tool_choice":{{"type":"function","function":{{"name":"f"}}}},"#);
    let call = |finish: &str| {
        format!(
            r#""message":{{"tool_calls":[{{"function":{{"name":"f","arguments":"Hello, world"}}}}]}},"finish_reason":"{finish}""#
        )
    };
    assert_eq!(answered(FREE, &named, &call("stop")), (Quality::Exact, String::new(), Some(3)));
    assert_eq!(answered(AZURE, &named, &call("stop")), (Quality::Exact, String::new(), Some(4)));
    let doubt = (Quality::Estimated, "output:tool_choice".to_owned(), Some(3));
    assert_eq!(answered(FREE, &named, &call("tool_calls")), doubt);
    assert_eq!(answered(FREE, tools, SAID), (Quality::Exact, String::new(), Some(4)));
    let none = format!(r#"{tools}"tool_choice":"none","#);
    assert_eq!(answered(FREE, &none, SAID), doubt);
}

/// A chat's response of this model; `choice` as in [`answered`].
fn answered_by(model: &str, more: &str, choice: &str) -> (Quality, String, Option<u64>) {
    answered(FREE, more, &format!(r#"{choice}}}],"model":"{model}","x":[{{"y":0"#))
}

#[test]
fn a_single_call_may_be_wrapped() {
    let n = |text: &str| crate::tokens::count(crate::tokens::Encoding::O200kBase, text);
    let call = |arguments: &str| {
        let arguments = serde_json::Value::from(arguments);
        format!(
            r#""message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}},"finish_reason":"tool_calls""#
        )
    };
    let bare = n(" to=functions.f") + 4;
    let wrapper = r#"{"tool_uses":[{"recipient_name":"functions.f","parameters":{"a":[1,"é"]}}]}"#;
    let wrapped = n(" to=multi_tool_use.parallel") + n(wrapper) + 4;
    for (arguments, tokens, quality) in [
        (r#"{"a": [1, "é"]}"#, wrapped, Quality::Estimated),
        (r#"{"a": [1, "é"]}"#, wrapped, Quality::Estimated),
        (r#"{"a":[1,"é"]}"#, bare + n(r#"{"a":[1,"é"]}"#), Quality::Exact),
        ("{ \"a\": 1}", bare + n("{ \"a\": 1}"), Quality::Exact),
        ("{}", bare + 1, Quality::Exact),
        ("{\"a\": ", bare + n("{\"a\": "), Quality::Exact),
    ] {
        let found = answered_by("gpt-4.1-nano-2025-04-14", "", &call(arguments));
        assert_eq!((found.0, found.2), (quality, Some(tokens)), "{arguments}");
    }
    let spaced = answered_by("gpt-4.1", "", &call(r#"{"a": 1}"#));
    assert_eq!((spaced.0, spaced.2), (Quality::Exact, Some(bare + n(r#"{"a": 1}"#))));
}

#[test]
fn a_long_answer_to_a_schema_is_not_called_exact() {
    let schema = |more: &str| {
        format!(r#"{more}"response_format":{{"type":"json_schema","json_schema":{{"strict":true}}}},"#)
    };
    let text = |text: &str| {
        let text = serde_json::Value::from(text);
        format!(r#""message":{{"content":{text}}},"finish_reason":"stop""#)
    };
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}],"#;
    let doubt = |more: &str, said: &str| answered(FREE, more, &text(said)).1;
    let long = format!("[{}]", "\"a\",".repeat(200));
    assert_eq!(doubt(&schema(""), &long), "output:json_schema");
    assert_eq!(doubt("", &long), "");
    assert_eq!(doubt(&schema(""), "{}"), "");
    assert_eq!(doubt(&schema(""), "{\n}"), "", "written by one who likes lines");
    assert_eq!(doubt(&schema(tools), "{}"), "");
    assert_eq!(doubt(&schema(tools), "{}\n{}"), "output:json_schema", "two answers");
}

#[test]
fn who_does_not_think_hides_nothing() {
    let none = r#""reasoning_effort":"none","#;
    let of = |model: &str, more: &str| {
        let (quality, reasons, tokens) = answered_by(model, more, SAID);
        (quality, reasons, tokens.unwrap())
    };
    let hidden = "output:reasoning_hidden".to_owned();
    assert_eq!(of("gpt-5.4", none), (Quality::Exact, String::new(), 3 + 3));
    assert_eq!(of("gpt-5.2-2025-12-11", none), (Quality::Exact, String::new(), 3 + 3));
    assert_eq!(of("gpt-5.4", ""), (Quality::LowerBound, hidden.clone(), 3 + 3));
    assert_eq!(of("gpt-5.4", r#""reasoning_effort":"low","#), (Quality::LowerBound, hidden.clone(), 3 + 3));
    assert_eq!(of("gpt-5-mini", none), (Quality::LowerBound, hidden.clone(), 3 + 9));
    assert_eq!(of("gpt-5-chat-latest", ""), (Quality::Exact, String::new(), 3));
    assert_eq!(of("o4-mini", ""), (Quality::LowerBound, hidden.clone(), 3 + 12));
    assert_eq!(of("o3-mini", ""), (Quality::LowerBound, hidden, 3 + 10));
}

/// Behind the result of a call a model may go on without a thought.
#[test]
fn after_a_result_the_bound_is_lower() {
    let said = |messages: &str| {
        let request = format!(r#"{{"model":"d","messages":[{messages}]}}"#);
        let body = format!(r#"{{"model":"gpt-5-mini","choices":[{{"index":0,{SAID}}}]}}"#);
        Exchange { request: &request, ..Exchange::json(&body) }.run().tokens.output
    };
    let (user, tool) =
        (r#"{"role":"user","content":"x"}"#, r#"{"role":"tool","tool_call_id":"a","content":"x"}"#);
    assert_eq!(said(user), Some(3 + 9));
    assert_eq!(said(&format!("{user},{tool}")), Some(3 + 3));
    assert_eq!(said(&format!("{tool},{user}")), Some(3 + 9));
}

#[test]
fn odd_answers_are_not_called_exact() {
    let doubt = |rules, choice: &str| answered(rules, "", choice).1;
    assert_eq!(doubt(FREE, r#""message":{"content":"x"},"finish_reason":null"#), "output:unfinished");
    assert_eq!(doubt(FREE, r#""message":{"content":""},"finish_reason":"stop""#), "output:empty_answer");
    let nameless =
        r#""message":{"tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls""#;
    assert_eq!(doubt(FREE, nameless), "output:unknown_fields");
    let twins = r#""message":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}},{"index":0,"function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls""#;
    assert_eq!(doubt(FREE, twins), "output:unknown_fields");
    let again = format!(r#"{SAID}}},{{"index":0,{SAID}"#);
    assert_eq!(doubt(FREE, &again), "output:unknown_fields");
    let dated = |seconds: u64| format!(r#"{SAID}}}],"created":{seconds},"x":[{{"y":0"#);
    assert_eq!(doubt(AZURE, &dated(1_741_880_483)), "output:end_of_turn");
    assert_eq!(doubt(FREE, &dated(1_741_880_483)), "output:end_of_turn");
    assert_eq!(doubt(AZURE, &dated(1_769_122_114)), "");
    assert_eq!(doubt(AZURE, &dated(1)), "", "no date");
    assert_eq!(doubt(FREE, &dated(1_769_122_114)), "");
}
