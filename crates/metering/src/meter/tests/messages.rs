//! Anthropic's Messages: what is reported stands, member by member, and nothing is computed.

use serde_json::{Value, json};

use super::*;
use crate::usage::{ToolTokens, Units};

/// A usage as a message begins with it.
fn begun_usage() -> Value {
    json!({"input_tokens": 12, "cache_creation_input_tokens": 3000, "cache_read_input_tokens": 20000,
        "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        "output_tokens": 1, "service_tier": "standard", "inference_geo": "us", "speed": "fast", "server_tool_use": null})
}

fn message(content: &[Value], stop_reason: &Value, usage: &Value) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage})
}

fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn start(usage: &Value) -> String {
    named(&json!({"type": "message_start", "message": message(&[], &Value::Null, usage)}))
}

fn block(delta: &Value) -> String {
    named(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
}

/// A block of text.
fn text() -> String {
    [
        named(&json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
        named(&json!({"type": "ping"})),
        block(&json!({"type": "text_delta", "text": "Te"})),
        block(&json!({"type": "text_delta", "text": "al."})),
        named(&json!({"type": "content_block_stop", "index": 0})),
    ]
    .concat()
}

fn change(usage: &Value) -> String {
    named(
        &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": usage}),
    )
}

fn stop() -> String {
    named(&json!({"type": "message_stop"}))
}

const REQUEST: &str =
    r#"{"model":"claude-team","max_tokens":64,"messages":[{"role":"user","content":"Hi"}],"stream":true}"#;

/// The event of a call; the same however the response is cut, and however small its turns are.
fn run(body: &str, ending: Ending) -> Usage {
    let in_pieces = |piece_bytes, budget_bytes| {
        let exchange = if body.starts_with('{') { Exchange::json(body) } else { Exchange::stream(body) };
        Exchange { api: Api::Messages, request: REQUEST, ending, piece_bytes, budget_bytes, ..exchange }.run()
    };
    let whole = in_pieces(usize::MAX, usize::MAX);
    for (piece_bytes, budget_bytes) in [(1, usize::MAX), (7, 100), (1000, 5)] {
        assert_eq!(in_pieces(piece_bytes, budget_bytes), whole, "{piece_bytes}: {body}");
    }
    whole
}

/// Both numbers, both sources, both qualities, and the reasons.
type Sides<'a> = (Option<u64>, Option<u64>, [Source; 2], [Quality; 2], Vec<&'a str>);

fn sides(usage: &Usage) -> Sides<'_> {
    let accounting = &usage.accounting;
    let sources = [accounting.input_source, accounting.output_source];
    let qualities = [accounting.input_quality, accounting.output_quality];
    let reasons = accounting.reasons.iter().map(SmolStr::as_str).collect();
    (usage.tokens.input, usage.tokens.output, sources, qualities, reasons)
}

const REPORTED: [Source; 2] = [Source::Reported; 2];
const UNKNOWN: [Source; 2] = [Source::Unknown; 2];
const EXACT: [Quality; 2] = [Quality::Exact; 2];

fn exact(input: u64, output: u64) -> Sides<'static> {
    (Some(input), Some(output), REPORTED, EXACT, vec![])
}

#[test]
fn a_document_says_all() {
    let mut usage = begun_usage();
    usage["output_tokens"] = json!(9);
    usage["output_tokens_details"] = json!({"thinking_tokens": 4});
    usage["server_tool_use"] = json!({"web_search_requests": 2, "web_fetch_requests": 1});
    let content =
        [json!({"type": "text", "text": "Teal."}), json!({"type": "text", "usage": {"output_tokens": 7}})];
    let event = run(&message(&content, &json!("end_turn"), &usage).to_string(), Ending::Eof);
    assert_eq!(sides(&event), exact(23012, 9));
    let tokens = &event.tokens;
    assert_eq!(
        (
            tokens.input_cached,
            tokens.input_cache_write,
            tokens.input_cache_write_long,
            tokens.output_reasoning
        ),
        (Some(20000), Some(3000), Some(1000), Some(4))
    );
    assert_eq!((tokens.total, tokens.other.len()), (None, 0));
    assert_eq!((event.accounting.reported_input, event.accounting.computed_output), (Some(23012), None));
    let target = &event.target;
    assert_eq!((&*target.provider, target.operation.as_deref()), ("anthropic", Some("chat")));
    assert_eq!(
        (target.model.as_deref(), target.deployment.as_deref()),
        (Some("claude-sonnet-5"), Some("claude-team"))
    );
    assert_eq!(
        (target.service_tier.as_deref(), target.speed.as_deref(), target.inference_geo.as_deref()),
        (Some("standard"), Some("fast"), Some("us"))
    );
    assert_eq!(event.units, Units { web_searches: Some(2), web_fetches: Some(1), ..Units::default() });
    assert_eq!((event.ids.response_id.as_deref(), event.stream.outcome), (Some("msg_1"), Outcome::Complete));
    assert_eq!((&*event.stream.finish_reasons, event.stream.parse_errors), (&["end_turn".into()][..], 0));
}

#[test]
fn a_stream_begins_with_the_input_and_ends_with_the_output() {
    let body = [start(&begun_usage()), text(), change(&json!({"output_tokens": 9})), stop()].concat();
    let event = run(&body, Ending::Eof);
    assert_eq!(sides(&event), exact(23012, 9));
    assert_eq!((event.tokens.input_cached, event.tokens.input_cache_write_long), (Some(20000), Some(1000)));
    assert_eq!(
        (event.stream.outcome, event.stream.done_seen, event.stream.events),
        (Outcome::Complete, true, 8)
    );
    assert_eq!(
        (event.target.model.as_deref(), event.ids.response_id.as_deref()),
        (Some("claude-sonnet-5"), Some("msg_1"))
    );
    assert_eq!(
        (&*event.stream.finish_reasons, event.target.speed.as_deref()),
        (&["end_turn".into()][..], Some("fast"))
    );
    // After its end nothing counts, and what breaks off then is whole.
    assert_eq!(
        sides(&run(&(body.clone() + &change(&json!({"output_tokens": 99}))), Ending::Eof)),
        exact(23012, 9)
    );
    for ending in [Ending::UpstreamError, Ending::ClientDisconnect] {
        assert_eq!(run(&body, ending).stream.outcome, Outcome::Complete);
    }
}

#[test]
fn a_change_replaces_member_by_member_and_adds_nothing() {
    let first = json!({"input_tokens": 27, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": null, "output_tokens": 1});
    let repeated = json!({"input_tokens": 27, "cache_read_input_tokens": 0, "output_tokens": 20});
    let last = json!({"input_tokens": 31, "cache_creation_input_tokens": null, "cache_read_input_tokens": 5, "output_tokens": 47});
    let body = [start(&first), text(), change(&repeated), change(&last), stop()].concat();
    let event = run(&body, Ending::Eof);
    assert_eq!(sides(&event), exact(36, 47));
    assert_eq!((event.tokens.input_cached, event.tokens.input_cache_write), (Some(5), Some(0)));
    // Of another event, or within a delta, a usage is none.
    let elsewhere = named(
        &json!({"type": "ping", "usage": {"output_tokens": 99}, "delta": {"usage": {"output_tokens": 98}},
            "response": {"usage": {"input_tokens": 97, "output_tokens": 96}}}),
    );
    let body = [start(&first), text(), elsewhere, change(&last), stop()].concat();
    assert_eq!(sides(&run(&body, Ending::Eof)), exact(36, 47));
}

#[test]
fn a_stream_that_is_cut_has_its_input_and_some_of_its_output() {
    let cut_by = |reason: &'static str| vec![reason];
    for (more, output) in [(String::new(), 1), (change(&json!({"output_tokens": 7})), 7)] {
        let body = [start(&begun_usage()), text(), more].concat();
        for (ending, outcome, reason) in [
            (Ending::UpstreamError, Outcome::UpstreamError, "output:upstream_error"),
            (Ending::Eof, Outcome::UpstreamEof, "output:upstream_eof"),
            (Ending::ClientDisconnect, Outcome::ClientDisconnect, "output:client_disconnect"),
            (Ending::Shutdown, Outcome::Shutdown, "output:shutdown"),
        ] {
            let event = run(&body, ending);
            let qualities = [Quality::Exact, Quality::LowerBound];
            assert_eq!(sides(&event), (Some(23012), Some(output), REPORTED, qualities, cut_by(reason)));
            assert_eq!(event.stream.outcome, outcome);
        }
    }
    // Cut before it began, nothing is known.
    let started = start(&begun_usage());
    for body in ["", &started[..started.len() - 20]] {
        let event = run(body, Ending::UpstreamError);
        let reasons = vec!["input:no_usage", "output:no_usage"];
        assert_eq!(sides(&event), (None, None, UNKNOWN, [Quality::Unknown; 2], reasons), "{body}");
    }
}

/// A crashed call has the numbers of its last checkpoint, and all that prices it.
#[test]
fn a_message_that_a_crash_cuts_has_what_was_reported() {
    let mut meter = Meter::new(draft(Api::Messages), FREE);
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    meter.response_bytes((start(&begun_usage()) + &text()).as_bytes(), usize::MAX);
    let crashed = draft(Api::Messages).crashed(Some(meter.progress().0));
    assert_eq!((crashed.tokens.input, crashed.tokens.output), (Some(23012), Some(1)));
    let accounting = &crashed.accounting;
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::LowerBound));
    assert_eq!(accounting.reasons, ["output:crashed"]);
    let target = &crashed.target;
    assert_eq!(
        (target.service_tier.as_deref(), target.speed.as_deref(), target.inference_geo.as_deref()),
        (Some("standard"), Some("fast"), Some("us"))
    );
    assert_eq!((target.model.as_deref(), &*target.provider), (Some("claude-sonnet-5"), "anthropic"));
}

#[test]
fn an_error_ends_a_stream_and_has_a_name() {
    let error = |kind| named(&json!({"type": "error", "error": {"type": kind, "message": "busy"}}));
    let event = run(&[start(&begun_usage()), text(), error("overloaded_error")].concat(), Ending::Eof);
    let qualities = [Quality::Exact, Quality::LowerBound];
    assert_eq!(sides(&event), (Some(23012), Some(1), REPORTED, qualities, vec!["output:upstream_error"]));
    assert_eq!(
        (event.request.error_type.as_deref(), event.stream.outcome),
        (Some("overloaded_error"), Outcome::UpstreamError)
    );
    let event = run(&error("rate_limit_error"), Ending::Eof);
    assert_eq!(
        (event.tokens.input, event.tokens.output),
        (Some(0), Some(0)),
        "it stands in place of a response"
    );
}

#[test]
fn a_refusal_bills_nothing() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#;
    let event = Exchange { api: Api::Messages, status: 429, ..Exchange::json(body) }.run();
    assert_eq!((event.tokens.input, event.tokens.output), (Some(0), Some(0)));
    assert_eq!(event.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    assert_eq!(
        (event.request.error_type.as_deref(), event.stream.outcome),
        (Some("rate_limit_error"), Outcome::UpstreamStatus)
    );
}

/// The first token is something that a model says: no greeting, no signature.
#[test]
fn a_message_begins_with_its_first_delta() {
    let begins = |event: &str| {
        let mut meter = Meter::new(draft(Api::Messages), FREE);
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers("text/event-stream"));
        let greeting = start(&begun_usage()) + &text().split_inclusive("\n\n").take(2).collect::<String>();
        meter.response_bytes(greeting.as_bytes(), usize::MAX);
        assert!(!meter.first_token_seen() && meter.memory_bytes() == 0);
        meter.response_bytes(event.as_bytes(), usize::MAX);
        meter.first_token_seen()
    };
    for (delta, expected) in [
        (json!({"type": "text_delta", "text": "Te"}), true),
        (json!({"type": "input_json_delta", "partial_json": ""}), true),
        (json!({"type": "thinking_delta", "thinking": "Hm"}), true),
        (json!({"type": "signature_delta", "signature": "x"}), false),
        (json!({"type": "citations_delta", "citation": {"type": "text_delta"}}), false),
        (json!("text_delta"), false),
    ] {
        assert_eq!(begins(&block(&delta)), expected, "{delta}");
    }
}

#[test]
fn iterations_are_summed_and_advisors_stand_beside() {
    let own = |kind, input| {
        json!({"type": kind, "input_tokens": input, "output_tokens": 100,
        "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0})
    };
    let advised = json!({"type": "advisor_message", "model": "claude-opus-9", "input_tokens": 500,
        "cache_read_input_tokens": 50, "cache_creation_input_tokens": 0, "output_tokens": 60});
    let usage = json!({"input_tokens": 20, "output_tokens": 100,
        "iterations": [own("compaction", 9000), advised, own("message", 20), advised]});
    let advisor = ToolTokens {
        tool: "advisor".into(),
        model: Some("claude-opus-9".into()),
        input: Some(1100),
        output: Some(120),
        input_cached: Some(100),
        ..ToolTokens::default()
    };
    let document = message(&[], &json!("end_turn"), &usage).to_string();
    let stream =
        [start(&json!({"input_tokens": 20, "output_tokens": 1})), text(), change(&usage), stop()].concat();
    for body in [document, stream] {
        let event = run(&body, Ending::Eof);
        assert_eq!(sides(&event), exact(9020, 200));
        assert_eq!(event.tools, std::slice::from_ref(&advisor));
    }
}

#[test]
fn what_contradicts_itself_is_told() {
    let event = run(
        &message(
            &[],
            &json!("end_turn"),
            &json!({"input_tokens": 5, "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 4}}),
        )
        .to_string(),
        Ending::Eof,
    );
    let qualities = [Quality::Exact, Quality::Estimated];
    assert_eq!(sides(&event), (Some(5), Some(3), REPORTED, qualities, vec!["output:total_differs"]));
    assert_eq!(event.stream.parse_errors, 1);
    // A usage with a number that cannot be one says nothing, and what was said before stands.
    let absurd = change(&json!({"input_tokens": -1, "output_tokens": 99}));
    let body = [start(&begun_usage()), text(), change(&json!({"output_tokens": 9})), absurd, stop()].concat();
    let event = run(&body, Ending::Eof);
    assert_eq!((sides(&event), event.stream.parse_errors), (exact(23012, 9), 1));
}

/// A message is read as it passes: its length costs nothing, and a usage that is cut is none.
#[test]
fn long_messages_are_read_in_constant_memory() {
    let filler = "A".repeat(5 << 20);
    let mut usage = begun_usage();
    usage["output_tokens"] = json!(9);
    let document =
        message(&[json!({"type": "text", "text": filler})], &json!("max_tokens"), &usage).to_string();
    let long = |body: &str, ending| {
        let exchange = if body.starts_with('{') { Exchange::json(body) } else { Exchange::stream(body) };
        Exchange { api: Api::Messages, request: REQUEST, ending, piece_bytes: 64 << 10, ..exchange }.run()
    };
    assert_eq!(sides(&long(&document, Ending::Eof)), exact(23012, 9));
    let event = long(&document[..document.len() - 120], Ending::UpstreamError);
    assert_eq!((event.tokens.input, event.target.model.as_deref()), (None, Some("claude-sonnet-5")));
    assert_eq!(event.accounting.reasons, ["input:no_usage", "output:no_usage"]);
    let delta = block(&json!({"type": "text_delta", "text": filler}));
    let stream = [start(&begun_usage()), delta, change(&json!({"output_tokens": 9})), stop()].concat();
    assert_eq!(sides(&long(&stream, Ending::Eof)), exact(23012, 9));
}

/// Some usage, of any members.
fn any_usage() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "new_tokens",
    ]);
    let number =
        prop_oneof![4 => (1_u64..999).prop_map(Value::from), 1 => Just(Value::Null), 1 => Just(json!("x"))];
    prop::collection::btree_map(name, number, 0..5)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The last word on each member counts, wherever the bytes are cut and in whatever state the message is left.
    #[test]
    fn the_last_word_on_each_member_counts(
        words in prop::collection::vec(any_usage(), 1..5), piece_bytes in 1_usize..50, ended in any::<bool>(),
    ) {
        let mut body = start(&words[0]) + &text();
        body.extend(words[1..].iter().map(change));
        body.extend(ended.then(stop));
        let in_pieces = |piece_bytes| {
            Exchange { api: Api::Messages, request: REQUEST, piece_bytes, ..Exchange::stream(&body) }.run()
        };
        let event = in_pieces(usize::MAX);
        prop_assert_eq!(&in_pieces(piece_bytes), &event);
        let last = |name: &str| words.iter().rev().find_map(|usage| usage.get(name)?.as_u64());
        let parts = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"].map(last);
        let (input, output) = (parts.into_iter().flatten().reduce(|sum, part| sum + part), last("output_tokens"));
        prop_assert_eq!((event.tokens.input, event.tokens.output), (input, output), "{}", body);
        prop_assert_eq!(event.accounting.input_quality == Quality::Exact, input.is_some());
        let quality = if ended { Quality::Exact } else { Quality::LowerBound };
        prop_assert_eq!(event.accounting.output_quality == quality, output.is_some());
    }
}
