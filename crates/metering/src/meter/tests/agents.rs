//! Calls that a Foundry agent answers: who it is, and that its prompt is not all in the request.

use serde_json::{Value, json};

use super::responses::{Answer, Item, Sent, run, run_with, stream};
use super::*;

/// A request that names an agent, and no model.
const ASKED: &str =
    r#"{"input":"Hello","stream":true,"agent_reference":{"type":"agent_reference","name":"clerk"}}"#;

fn answer() -> Answer {
    Answer::of(vec![Item::Message(vec!["Hello", ", world"])])
}

/// The stream of an answer whose response names this agent.
fn stream_of(agent: &Value) -> String {
    let named = |mut event: Value| {
        if let Some(response) = event.get_mut("response") {
            response["agent_reference"] = agent.clone();
        }
        event
    };
    stream(answer().events(Sent::Everything, false).into_iter().map(named).collect())
}

fn clerk() -> Value {
    json!({"type": "agent_reference", "name": "clerk", "version": "3"})
}

#[test]
fn request_or_response_name_the_agent() {
    let agent = |usage: Usage| usage.target.agent.map(String::from);
    let clerk_only = Some("clerk".to_owned());
    let mut document: Value = serde_json::from_str(&answer().json()).unwrap();
    assert_eq!(agent(run(&document.to_string())), None);
    assert_eq!(agent(run_with(ASKED, &document.to_string(), true)), clerk_only);
    document["agent_reference"] = clerk();
    assert_eq!(agent(run(&document.to_string())), clerk_only);
    assert_eq!(agent(run(&stream_of(&clerk()))), clerk_only);
    let other = json!({"name": "other"});
    assert_eq!(agent(run_with(ASKED, &stream_of(&other), false)), clerk_only, "who was asked counts");
    // A name that may not stand in an event is none.
    for bad in ["", "a\nb", &"x".repeat(129), "caf\u{e9}"] {
        assert_eq!(agent(run(&stream_of(&json!({"name": bad})))), None, "{bad}");
        let asked = json!({"input": "Hello", "agent": {"name": bad}}).to_string();
        assert_eq!(agent(run_with(&asked, &answer().json(), true)), None, "{bad}");
    }
    // Elsewhere the member is the caller's own.
    let chat =
        Exchange { request: ASKED, ..Exchange::json(r#"{"agent_reference":{"name":"no"},"choices":[]}"#) };
    assert_eq!(agent(chat.run()), None);
}

#[test]
fn the_path_comes_first() {
    let mut draft = draft(Api::Responses);
    draft.target.agent = Some("of-the-path".into());
    let mut meter = Meter::new(draft.clone(), AZURE);
    meter.request_bytes(ASKED.as_bytes());
    meter.request_end();
    assert_eq!(meter.target().agent.as_deref(), Some("of-the-path"));
    draft.target.api = Api::Other;
    assert_eq!(Meter::new(draft, AZURE).target().agent.as_deref(), Some("of-the-path"));
}

/// An agent has instructions and tools of its own: a count of the request would be called exact, and be wrong.
#[test]
fn what_only_the_service_knows_is_not_counted() {
    let plain = run(&answer().json());
    assert_eq!(
        (plain.accounting.input_quality, plain.accounting.output_quality),
        (Quality::Exact, Quality::Exact)
    );
    let in_path = {
        let mut draft = draft(Api::Responses);
        draft.target.agent = Some("clerk".into());
        let body = answer().json();
        let mut meter = Meter::new(draft, FREE);
        meter.request_bytes(br#"{"input":"Hello"}"#);
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers("application/json"));
        assert_eq!(meter.early_need(|| Some(MODEL.into())), None);
        meter.response_bytes(body.as_bytes(), usize::MAX);
        meter.end(Ending::Eof);
        assert_eq!(meter.prompt_need(), PromptNeed::No);
        meter.settle(Ending::Eof)
    };
    for found in [run_with(ASKED, &answer().json(), true), run(&stream_of(&clerk())), in_path] {
        let accounting = &found.accounting;
        assert_eq!((found.tokens.input, accounting.input_source), (None, Source::Unknown));
        let reasons: Vec<_> = accounting.reasons.iter().map(SmolStr::as_str).collect();
        assert_eq!(reasons, ["input:server_state", "output:hosted_tool"]);
        assert_eq!(
            (found.tokens.output, accounting.output_quality),
            (plain.tokens.output, Quality::Estimated)
        );
    }
}

#[test]
fn reported_numbers_win_and_check_no_rule() {
    let usage = json!({"input_tokens": 210, "output_tokens": 8, "total_tokens": 218});
    let mut document: Value = serde_json::from_str(&answer().json()).unwrap();
    document["usage"] = usage;
    let mut meter = Meter::new(draft(Api::Responses), FREE);
    meter.request_bytes(ASKED.as_bytes());
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("application/json"));
    meter.response_bytes(document.to_string().as_bytes(), usize::MAX);
    meter.end(Ending::Eof);
    assert_eq!(meter.prompt_sample(), None);
    assert_eq!(meter.progress().0.agent.as_deref(), Some("clerk"), "a checkpoint has it");
    let (found, checks) = meter.settle_and_check(Ending::Eof);
    assert_eq!((found.tokens.input, found.tokens.output), (Some(210), Some(8)));
    let accounting = found.accounting;
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::Exact));
    assert_eq!((accounting.reasons.len(), accounting.computed_input), (0, None));
    assert_eq!(
        (checks.input.residual, checks.output.residual),
        (None, None),
        "they say nothing of the rules"
    );
}

#[test]
fn a_crashed_call_has_its_agent() {
    let mut meter = Meter::new(draft(Api::Responses), FREE);
    meter.request_bytes(ASKED.as_bytes());
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    let crashed = draft(Api::Responses).crashed(Some(meter.progress().0));
    assert_eq!(crashed.target.agent.as_deref(), Some("clerk"));
    assert!(crashed.accounting.reasons.contains(&"input:server_state".into()), "{:?}", crashed.accounting);
    let mut in_path = draft(Api::Responses);
    in_path.target.agent = Some("clerk".into());
    assert_eq!(in_path.crashed(None).target.agent.as_deref(), Some("clerk"));
}

/// Also if the response is too long to be held, or nobody has time for it.
#[test]
fn the_agent_of_a_long_response_is_found() {
    let filler = "A".repeat((4 << 20) + 100);
    let response = format!(
        r#"{{"output":[{{"type":"image_generation_call","result":"{filler}"}}],"agent_reference":{{"x":"{filler}","name":"clerk"}},"status":"completed","model":"{MODEL}"}}"#
    );
    let event = format!("data: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n");
    for (exchange, what) in
        [(Exchange::json(&response), "a document"), (Exchange::stream(&event), "an event")]
    {
        let found = Exchange { api: Api::Responses, piece_bytes: 64 << 10, ..exchange }.run();
        assert_eq!(found.target.agent.as_deref(), Some("clerk"), "{what}");
        assert_eq!(found.target.model.as_deref(), Some(MODEL), "{what}");
    }
}
