//! Which numbers of the Responses API are exact, and which are a bound.

use serde_json::{Value, json};

use super::responses::{Answer, CREATED, Item, REQUEST, Sent, run, run_with, stream};
use super::*;

#[test]
fn the_service_says_whether_the_model_was_to_think() {
    let text = Item::Message(vec!["Hello", ", world"]);
    let said = |request: &str, items: Vec<Item>, effort: &str| {
        let answer = Answer { model: "gpt-5.4", ..Answer::of(items) };
        let echo = |mut event: Value| {
            event["response"]["reasoning"] = json!({"effort": effort, "summary": null});
            event
        };
        let events = answer.events(Sent::LastOnly, false).into_iter().map(echo).collect();
        let event = run_with(request, &stream(events), false);
        (event.accounting.output_quality, event.tokens.output)
    };
    assert_eq!(said(REQUEST, vec![text.clone()], "none"), (Quality::Exact, Some(7)));
    assert_eq!(said(REQUEST, vec![Item::Reasoning, text.clone()], "none").0, Quality::LowerBound);
    let pro = r#"{"input":"Hello","reasoning":{"mode":"pro","effort":"none"}}"#;
    assert_eq!(said(pro, vec![text], "none").0, Quality::LowerBound);
}

#[test]
fn an_answer_that_says_nothing_is_not_called_exact() {
    for model in ["gpt-4.1", "gpt-5.4"] {
        let event = run(&Answer { model, ..Answer::of(vec![Item::Message(vec![])]) }.json());
        assert!(
            event.accounting.reasons.contains(&"output:empty_answer".into()),
            "{model}: {:?}",
            event.accounting
        );
    }
}

/// While the service divided its numbers by the calls of a response, ours were not its own.
#[test]
fn numbers_that_the_service_divided_are_not_called_exact() {
    let calls = |count: usize, created: u64| {
        let items = vec![Item::Call("f", vec!["{}"]); count];
        let body = Answer::of(items).json().replace(&CREATED.to_string(), &created.to_string());
        let accounting = run(&body).accounting;
        (accounting.input_quality, accounting.output_quality)
    };
    assert_eq!(calls(2, 1_765_000_000), (Quality::Estimated, Quality::Estimated));
    assert_eq!(calls(1, 1_765_000_000), (Quality::Exact, Quality::Exact));
    assert_eq!(calls(2, 1_780_000_000), (Quality::Exact, Quality::Exact));
}

/// Of a single call of a model that wraps some, nothing shows whether it did.
#[test]
fn a_single_call_of_a_model_that_wraps_some() {
    let of = |model, request: &str| {
        let body = Answer { model, ..Answer::of(vec![Item::Call("f", vec!["{}"])]) }.json();
        run_with(request, &body, true).accounting.output_quality
    };
    assert_eq!(of("gpt-4.1-nano", REQUEST), Quality::Estimated);
    assert_eq!(of("gpt-4.1-nano", r#"{"input":"Hello","parallel_tool_calls":false}"#), Quality::Exact);
    assert_eq!(of("gpt-4.1-mini", REQUEST), Quality::Exact);
}
