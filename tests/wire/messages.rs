//! Anthropic's Messages: the input holds what caches gave and took, a word on a number replaces the one before,
//! and nothing is computed.

use metering::meter::{Ending, Treatment};
use metering::usage::{Api, Outcome, Quality, Source, Units, Usage};
use serde_json::{Value, json};

use crate::call::Call;
use crate::support::messages::{
    INPUT, REQUEST, beginning, begun, begun_with, block, change, error, event, message, ping, start, stop,
    stream, text,
};

fn streamed(body: impl Into<Vec<u8>>) -> Call {
    Call {
        api: Api::Messages,
        request: REQUEST.to_owned(),
        treatment: Treatment::ReportedOnly,
        ..Call::stream(body)
    }
}

fn document(body: &Value) -> Call {
    let request = REQUEST.replace(",\"stream\":true", "");
    Call { api: Api::Messages, request, treatment: Treatment::ReportedOnly, ..Call::json(body.to_string()) }
}

/// Reported, both sides exact, whole.
fn is_exact(seen: &Usage, input: u64, output: u64) {
    let accounting = &seen.accounting;
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(input), Some(output)), "{accounting:?}");
    assert_eq!((accounting.input_source, accounting.output_source), (Source::Reported, Source::Reported));
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::Exact));
    assert!(accounting.reasons.is_empty(), "{:?}", accounting.reasons);
    assert_eq!((accounting.computed_input, accounting.computed_output), (None, None));
    assert_eq!((seen.stream.outcome, seen.stream.parse_errors), (Outcome::Complete, 0));
}

#[test]
fn what_caches_gave_and_took_is_part_of_the_input() {
    let content = [json!({"type": "text", "text": "Teal."})];
    for call in [document(&message(&content, Some("end_turn"), &begun_with(9))), streamed(stream())] {
        let seen = call.usage();
        is_exact(&seen, INPUT, 9);
        let tokens = &seen.tokens;
        assert_eq!(
            (tokens.input_cached, tokens.input_cache_write, tokens.input_cache_write_long),
            (Some(20_000), Some(3000), Some(1000))
        );
        assert_eq!((tokens.total, tokens.output_reasoning, tokens.other.len()), (None, None, 0));
        assert_eq!(seen.target.deployment.as_deref(), Some("claude-team"));
        assert_eq!(seen.target.model.as_deref(), Some("claude-sonnet-5"));
        assert_eq!(seen.target.service_tier.as_deref(), Some("standard"));
        assert_eq!(seen.target.inference_geo.as_deref(), Some("us"));
        assert_eq!(seen.ids.response_id.as_deref(), Some("msg_01a"));
        assert_eq!(seen.stream.finish_reasons, ["end_turn"]);
    }
}

#[test]
fn nothing_of_a_usage_that_is_repeated_is_added() {
    let first = json!({"input_tokens": 27, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": null, "output_tokens": 1});
    let more = json!({"input_tokens": 27, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 20});
    let last = json!({"input_tokens": 31, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 47});
    let body = [start(&first), ping(), text(0, &["Te"]), change(&more), change(&last), stop()].concat();
    let seen = streamed(body).usage();
    is_exact(&seen, 36, 47);
    assert_eq!((seen.tokens.input_cached, seen.tokens.input_cache_write), (Some(5), Some(0)));
}

#[test]
fn thinking_is_a_part_of_the_output() {
    let usage = json!({"input_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 500, "output_tokens_details": {"thinking_tokens": 460}});
    let thoughts = [
        json!({"type": "thinking_delta", "thinking": "A colour between"}),
        json!({"type": "thinking_delta", "thinking": " blue and green\n\n"}),
        json!({"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"}),
    ];
    let body = [
        start(&json!({"input_tokens": 40, "output_tokens": 3})),
        block(0, &json!({"type": "thinking", "thinking": "", "signature": ""}), &thoughts),
        block(1, &json!({"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}), &[]),
        text(2, &["Teal."]),
        change(&usage),
        stop(),
    ];
    for call in [document(&message(&[], Some("end_turn"), &usage)), streamed(body.concat())] {
        let seen = call.usage();
        is_exact(&seen, 40, 500);
        assert_eq!(seen.tokens.output_reasoning, Some(460));
        assert_eq!((seen.tokens.input_cached, seen.tokens.input_cache_write), (Some(0), Some(0)));
    }
}

#[test]
fn the_input_of_a_tool_comes_in_pieces_of_json() {
    let pieces = ["", "{\"ci", "ty\": \"Oslo\", \"usage\": {\"output_tokens\":", " 9999}}"];
    let deltas = pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
    let tool = json!({"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {}});
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 89}});
    let body = [start(&begun()), text(0, &["I look."]), block(1, &tool, &deltas), event(&delta), stop()];
    let seen = streamed(body.concat()).usage();
    is_exact(&seen, INPUT, 89);
    assert_eq!(seen.stream.finish_reasons, ["tool_use"]);
    let filled = json!({"type": "tool_use", "id": "toolu_01", "name": "weather",
        "input": {"city": "Oslo", "usage": {"output_tokens": 9999}}});
    is_exact(&document(&message(&[filled], Some("tool_use"), &begun_with(89))).usage(), INPUT, 89);
}

#[test]
fn tools_of_the_service_make_iterations_and_searches() {
    let entry = |input, output, read| {
        json!({"type": "message", "input_tokens": input, "output_tokens": output, "cache_read_input_tokens": read,
            "cache_creation_input_tokens": 0, "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}})
    };
    let advised = json!({"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 823, "output_tokens": 1612,
        "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0});
    let usage = json!({"input_tokens": 1348, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 412,
        "output_tokens": 531, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
        "iterations": [entry(412, 89, 0), advised, entry(1348, 442, 412)]});
    let searched = json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01",
        "content": [{"type": "web_search_result", "url": "https://example.org", "title": "Teal", "encrypted_content": "EqgfCioIARgB"}]});
    let citation = json!({"type": "citations_delta", "citation": {"type": "web_search_result_location", "cited_text": "Teal"}});
    let query = json!({"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {}});
    let asks = [json!({"type": "input_json_delta", "partial_json": "{\"query\": \"teal\"}"})];
    let body = [
        start(&json!({"input_tokens": 412, "cache_read_input_tokens": 0, "output_tokens": 1,
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}})),
        block(0, &query, &asks),
        block(1, &searched, &[]),
        block(2, &json!({"type": "text", "text": "", "citations": []}), &[citation]),
        change(&usage),
        stop(),
    ];
    for call in [document(&message(&[searched], Some("end_turn"), &usage)), streamed(body.concat())] {
        let seen = call.usage();
        is_exact(&seen, 412 + 1348 + 412, 531);
        assert_eq!(seen.tokens.input_cached, Some(412));
        assert_eq!(seen.units, Units { web_searches: Some(2), web_fetches: Some(1), ..Units::default() });
        let tool = &seen.tools[0];
        assert_eq!(
            (seen.tools.len(), &*tool.tool, tool.model.as_deref()),
            (1, "advisor", Some("claude-opus-5"))
        );
        assert_eq!((tool.input, tool.output, tool.input_cached), (Some(823), Some(1612), Some(0)));
    }
}

#[test]
fn a_stream_that_is_cut_keeps_what_was_reported() {
    let more = change(&json!({"output_tokens": 7}));
    for (body, output) in [(start(&begun()), 1), (beginning(), 1), (beginning() + &more, 7)] {
        for (ending, outcome, reason) in [
            (Ending::UpstreamError, Outcome::UpstreamError, "output:upstream_error"),
            (Ending::Eof, Outcome::UpstreamEof, "output:upstream_eof"),
            (Ending::Timeout, Outcome::Timeout, "output:timeout"),
            (Ending::ClientDisconnect, Outcome::ClientDisconnect, "output:client_disconnect"),
        ] {
            let seen = Call { ending, ..streamed(body.as_str()) }.usage();
            assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(output)));
            assert_eq!((seen.tokens.input_cached, seen.stream.outcome), (Some(20_000), outcome));
            let accounting = &seen.accounting;
            assert_eq!(
                (accounting.input_quality, accounting.output_quality),
                (Quality::Exact, Quality::LowerBound)
            );
            assert_eq!(accounting.output_source, Source::Reported);
            assert_eq!(accounting.reasons, [reason]);
        }
    }
}

/// Null is not 0: nobody knows what a prompt costs, but the service.
#[test]
fn what_was_never_said_is_not_known() {
    let cut = Call { ending: Ending::UpstreamError, ..streamed(&start(&begun())[..300]) };
    for call in [
        cut,
        streamed(text(0, &["Te", "al."]) + &stop()),
        streamed(start(&Value::Null) + &text(0, &["Te"]) + &change(&json!({})) + &stop()),
        document(&message(&[], Some("end_turn"), &json!({"input_tokens": 0, "output_tokens": 0}))),
    ] {
        let seen = call.usage();
        assert_eq!((seen.tokens.input, seen.tokens.output), (None, None));
        assert_eq!(seen.accounting.reasons, ["input:no_usage", "output:no_usage"]);
        assert_eq!(seen.accounting.input_quality, Quality::Unknown);
    }
}

/// A gateway may join in late: what comes then is read.
#[test]
fn a_stream_without_its_beginning_has_what_it_says() {
    let seen = streamed(text(0, &["al."]) + &change(&json!({"output_tokens": 9})) + &stop()).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (None, Some(9)));
    assert_eq!(
        (seen.accounting.input_source, seen.accounting.output_source),
        (Source::Unknown, Source::Reported)
    );
    assert_eq!(seen.accounting.reasons, ["input:no_usage"]);
    assert_eq!((seen.stream.outcome, seen.stream.done_seen), (Outcome::Complete, true));
    let seen = streamed(text(0, &["al."]) + &change(&begun_with(9)) + &stop()).usage();
    is_exact(&seen, INPUT, 9);
}

#[test]
fn an_error_ends_a_message() {
    let seen = streamed(beginning() + &error("overloaded_error", "busy")).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(1)));
    assert_eq!(
        (seen.stream.outcome, seen.request.error_type.as_deref()),
        (Outcome::UpstreamError, Some("overloaded_error"))
    );
    assert_eq!(seen.accounting.input_quality, Quality::Exact);
    assert_eq!(seen.accounting.reasons, ["output:upstream_error"]);
}

#[test]
fn a_refusal_costs_nothing_and_has_a_name() {
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}, "request_id": "req_01a"});
    let seen = Call { status: 429, ..document(&body) }.usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(0), Some(0)));
    assert_eq!(seen.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    assert_eq!(
        (seen.stream.outcome, seen.request.error_type.as_deref()),
        (Outcome::UpstreamStatus, Some("rate_limit_error"))
    );
}

#[test]
fn counting_a_prompt_costs_nothing() {
    let seen = Call { treatment: Treatment::Free, ..document(&json!({"input_tokens": 2095})) }.usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(0), Some(0)));
    assert_eq!(seen.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    assert_eq!((seen.accounting.input_quality, seen.stream.outcome), (Quality::Exact, Outcome::Complete));
}

/// As other gateways frame it.
#[test]
fn framing_makes_no_difference() {
    let plain = streamed(stream()).usage();
    for other in [
        stream().replace('\n', "\r\n"),
        stream().replace("data: ", "data:"),
        stream().replace("event: ", ": event "),
        format!("\u{feff}: greeting\n\n{}", stream()),
        stream().trim_end().to_owned(),
        stream() + "data: [DONE]\n\n",
    ] {
        assert_eq!(streamed(other.as_str()).usage(), plain, "{other}");
    }
}
