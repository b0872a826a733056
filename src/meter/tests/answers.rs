//! What answers of chat cost, and what is said of the number.

use super::*;

/// Quality, reasons and number of the output of one answer of gpt-4o, or of a model that it names.
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
fn a_stop_sequence_matters_where_the_end_is_billed() {
    let exact = |tokens| (Quality::Exact, String::new(), Some(tokens));
    let estimated = |tokens| (Quality::Estimated, "output:stop_sequence".to_owned(), Some(tokens));
    let stop = r#""stop":["\nQ:"],"#;
    assert_eq!(answered(FREE, stop, SAID), exact(3));
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
    assert_eq!(doubt(FREE, &dated(1_769_122_114)), "");
}
