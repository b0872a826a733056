use serde_json::{Value, json};

use super::*;

fn usage(json: &Value) -> MessagesCost {
    let document = json!({ "usage": json }).to_string();
    AnthropicMessage::parse(document.as_bytes()).unwrap().usage().unwrap().cost
}

#[test]
fn the_input_holds_what_was_read_and_written() {
    let found = usage(&json!({"input_tokens": 12, "cache_creation_input_tokens": 3000,
        "cache_read_input_tokens": 20000, "output_tokens": 9, "service_tier": "standard",
        "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        "output_tokens_details": {"thinking_tokens": 4}, "new_tokens": 5, "server_tool_use": null}));
    let expected = Reported {
        input: Some(23012),
        output: Some(9),
        input_cached: Some(20000),
        input_cache_write: Some(3000),
        input_cache_write_long: Some(1000),
        output_reasoning: Some(4),
        other: BTreeMap::from([("new_tokens".to_owned(), 5)]),
        ..Reported::default()
    };
    assert_eq!(found.reported(), expected);
    assert_eq!((found.units(), found.tools().count()), (BilledUnits::default(), 0));
}

#[test]
fn what_is_not_said_counts_nothing_and_is_not_known() {
    let reported = |json| usage(&json).reported();
    let all = reported(json!({"input_tokens": 7, "cache_read_input_tokens": null, "output_tokens": 1}));
    assert_eq!((all.input, all.input_cached, all.input_cache_write), (Some(7), None, None));
    assert_eq!(reported(json!({"cache_read_input_tokens": 7})).input, Some(7));
    assert_eq!(reported(json!({"output_tokens": 7})).input, None);
    assert_eq!(reported(json!({})), Reported::default());
}

#[test]
fn each_member_replaces_the_one_before() {
    let mut cost = usage(&json!({"input_tokens": 27, "cache_read_input_tokens": 4, "output_tokens": 1,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}}));
    cost.replace(usage(&json!({"output_tokens": 20, "cache_read_input_tokens": null,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}})));
    cost.replace(usage(&json!({"input_tokens": 31, "output_tokens": 47})));
    let reported = cost.reported();
    assert_eq!((reported.input, reported.input_cached, reported.output), (Some(35), Some(4), Some(47)));
    assert_eq!((cost.units().web_searches, cost.units().web_fetches), (Some(2), Some(1)));
}

/// A stream takes no more room, whatever it goes on to name.
#[test]
fn names_that_are_not_known_are_few() {
    let mut cost = MessagesCost::default();
    for number in (100..900).rev() {
        cost.replace(usage(&json!({format!("new_{number}_tokens"): number})));
    }
    let kept = cost.reported().other;
    assert_eq!((kept.len(), kept.first_key_value()), (16, Some((&"new_100_tokens".to_owned(), &100))));
}

#[test]
fn iterations_are_summed_and_an_advisor_is_a_tool() {
    let own = |kind, input, read| {
        json!({"type": kind, "input_tokens": input, "output_tokens": 100,
        "cache_read_input_tokens": read, "cache_creation_input_tokens": 0})
    };
    let advised = json!({"type": "advisor_message", "model": "claude-opus-9", "input_tokens": 500,
        "cache_read_input_tokens": 50, "output_tokens": 60});
    let list = [own("compaction", 9000, 0), advised.clone(), own("message", 20, 800), advised];
    let mut cost = usage(&json!({"input_tokens": 20, "output_tokens": 100, "cache_read_input_tokens": 800,
        "output_tokens_details": {"thinking_tokens": 30}, "iterations": list}));
    let reported = cost.reported();
    assert_eq!((reported.input, reported.output), (Some(9820), Some(200)));
    assert_eq!((reported.input_cached, reported.output_reasoning), (Some(800), Some(30)));
    let tools: Vec<_> = cost.tools().collect();
    assert_eq!(
        (tools.len(), tools[0].tool, tools[0].model.as_deref()),
        (2, ToolName::Advisor, Some("claude-opus-9"))
    );
    assert_eq!((tools[1].usage.input, tools[1].usage.output), (Some(550), Some(60)));
    cost.replace(usage(&json!({"iterations": null})));
    assert_eq!(cost.reported().input, Some(9820));
    let none = usage(&json!({"input_tokens": 20, "output_tokens": 1, "iterations": []}));
    assert_eq!(none.reported().input, Some(20));
}

#[test]
fn sums_over_more_than_is_read_are_not_exact() {
    let list = |entries| vec![json!({"type": "message", "input_tokens": 1, "output_tokens": 1}); entries];
    let few = usage(&json!({"iterations": list(ITERATIONS_MAX - 1)})).reported();
    assert_eq!((few.input, few.input_differs), (Some(ITERATIONS_MAX as u64 - 1), false));
    for entries in [ITERATIONS_MAX, 1000] {
        let many = usage(&json!({"iterations": list(entries)})).reported();
        assert!(many.input_differs && many.output_differs, "{entries}");
    }
}

#[test]
fn a_number_that_cannot_be_one_is_told() {
    for (usage, implausible) in [
        (r#"{"input_tokens":-1,"output_tokens":2}"#, true),
        (r#"{"input_tokens":1.5}"#, true),
        (r#"{"iterations":[{"output_tokens":1e300}]}"#, true),
        (r#"{"input_tokens":"1","cache_creation":7,"iterations":{},"service_tier":1}"#, false),
        (r#"{"input_tokens":-1,"input_tokens":1}"#, false),
    ] {
        let document = format!(r#"{{"usage":{usage}}}"#);
        let found = AnthropicMessage::parse(document.as_bytes()).unwrap().usage().unwrap();
        assert_eq!(found.implausible, implausible, "{usage}");
    }
    let broken = br#"{"usage":{"input_tokens":1 2},"stop_reason":"end_turn"}"#;
    assert!(AnthropicMessage::parse(broken).unwrap().usage().is_none());
}
