//! Errors that come in spite of a status of success, and the ends of streams.

use http::HeaderMap;
use metering::caller::{Caller, Trust};
use metering::meter::{Ending, Meter, Rules, Treatment};
use metering::usage::{Api, Outcome, Quality, Source, Target, Usage};

use crate::call::{Call, DONE, INPUT, chunk, delta, finish, hello, output_reasons, text, usage};
use crate::others::{ADDED, CREATED, PART, last, responses};

/// What such an error is charged: the prompt, the answer, how good the number of the prompt is.
type Charge = (Option<u64>, Option<u64>, Quality);

const LIKE_429: Charge = (Some(0), Some(0), Quality::Exact);
const LIKE_400: Charge = (Some(INPUT), Some(0), Quality::Estimated);
const LIKE_422: Charge = (Some(0), Some(0), Quality::Estimated);
const LIKE_500: Charge = (Some(INPUT), None, Quality::Estimated);

fn charge(seen: &Usage) -> Charge {
    (seen.tokens.input, seen.tokens.output, seen.accounting.input_quality)
}

/// The error's members, what it is charged, and its name in the event.
const ERRORS: &[(&str, Charge, Option<&str>)] = &[
    (r#""code":"rate_limit_exceeded""#, LIKE_429, Some("rate_limit_exceeded")),
    (r#""code":"429""#, LIKE_429, Some("429")),
    (r#""code":429"#, LIKE_429, Some("429")),
    (r#""code":"TooManyRequests""#, LIKE_429, Some("TooManyRequests")),
    (r#""code":null,"type":"too_many_requests""#, LIKE_429, Some("too_many_requests")),
    (r#""code":"odd","type":"insufficient_quota""#, LIKE_429, Some("odd")),
    (r#""type":"tokens","code":"rate_limit_exceeded""#, LIKE_429, Some("rate_limit_exceeded")),
    (r#""type":"invalid_request_error","code":"rate_limit_exceeded""#, LIKE_429, Some("rate_limit_exceeded")),
    (r#""error":{"code":"rate_limit_exceeded"}"#, LIKE_429, Some("rate_limit_exceeded")),
    (r#""code":"odd","innererror":{"code":"rate_limit_exceeded"}"#, LIKE_429, Some("odd")),
    (r#""status":429"#, LIKE_429, None),
    (r#""code":"DeploymentNotFound""#, LIKE_429, Some("DeploymentNotFound")),
    (r#""code":"invalid_api_key""#, LIKE_429, Some("invalid_api_key")),
    (r#""code":"context_length_exceeded""#, LIKE_400, Some("context_length_exceeded")),
    (r#""code":"content_filter","status":400"#, LIKE_400, Some("content_filter")),
    (r#""code":null,"type":"invalid_request_error""#, LIKE_400, Some("invalid_request_error")),
    (r#""code":400"#, LIKE_400, Some("400")),
    (r#""code":"invalid_prompt""#, LIKE_400, Some("invalid_prompt")),
    (r#""code":"422""#, LIKE_422, Some("422")),
    (r#""code":"server_error""#, LIKE_500, Some("server_error")),
    (r#""code":"500""#, LIKE_500, Some("500")),
    (r#""code":"408""#, LIKE_500, Some("408")),
    (r#""code":"server_is_overloaded""#, LIKE_500, Some("server_is_overloaded")),
    (r#""code":"timeout""#, LIKE_500, Some("timeout")),
    // Nobody knows these: anything may have happened.
    (r#""code":"a_word_of_tomorrow""#, LIKE_500, Some("a_word_of_tomorrow")),
    (r#""code":"1302""#, LIKE_500, Some("1302")),
    (r#""code":200"#, LIKE_500, Some("200")),
    (r#""code":null"#, LIKE_500, None),
    (r#""param":null"#, LIKE_500, None),
];

/// An answer of each API in which nothing but this error comes.
fn in_place_of_an_answer(error: &str) -> Vec<(&'static str, Call)> {
    let object = format!(r#"{{{error},"message":"429 rate_limit_exceeded server_error"}}"#);
    let flat = format!(r#"{{"type":"error",{error},"message":"m"}}"#);
    let nested = format!(r#"{{"type":"error","sequence_number":1,"error":{object}}}"#);
    let failed = format!(
        r#"{{"type":"response.failed","response":{{"id":"r","status":"failed","usage":null,"output":[],"error":{object}}}}}"#
    );
    let document = format!(
        r#"{{"id":"r","object":"response","status":"failed","usage":null,"output":[],"error":{object}}}"#
    );
    let carried = format!(r#"{{"error":{object}}}"#);
    let greeting = chunk(r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#);
    let completions = |call: Call| Call {
        api: Api::Completions,
        request: r#"{"model":"gpt-4o","prompt":"Hello, world: how are you"}"#.to_owned(),
        ..call
    };
    let whole = |body: String| Call { ..responses(&[]) }.of_type("application/json").saying(body);
    vec![
        ("a chat", Call::stream(format!("data: {carried}\n\n"))),
        ("a chat that greets first", Call::stream(format!("{greeting}data: {carried}\n\n{DONE}"))),
        ("a chat with a named event", Call::stream(format!("event: error\ndata: {carried}\n\n"))),
        ("a chat with a bare event", Call::stream(format!("event: error\ndata: {object}\n\n"))),
        ("a chat's document", Call::json(carried.clone())),
        ("a response that failed", responses(&[CREATED, &failed])),
        ("a response that failed at once", responses(&[&failed])),
        ("a flat error", responses(&[CREATED, &flat])),
        ("a nested error", responses(&[CREATED, &nested])),
        (
            "an error and an end",
            responses(&[
                CREATED,
                &nested,
                r#"{"type":"response.failed","response":{"status":"failed","error":null}}"#,
            ]),
        ),
        ("a response's document", whole(document)),
        ("completions", completions(Call::stream(format!("data: {carried}\n\n")))),
    ]
}

#[test]
fn an_error_in_place_of_an_answer_is_charged_as_the_status_that_it_names() {
    for (error, expected, name) in ERRORS {
        for (shape, call) in in_place_of_an_answer(error) {
            if shape == "a flat error" && error.contains("\"type\"") {
                continue; // its type is `error`
            }
            let seen = call.usage();
            let mut expected = *expected;
            if call.api == Api::Completions && expected.0 == Some(INPUT) {
                expected.0 = seen.tokens.input; // another prompt
                assert!(expected.0.is_some_and(|tokens| tokens > 0));
            }
            if seen.tokens.input.is_some_and(|tokens| tokens > 0) && call.api == Api::Responses {
                expected.0 = seen.tokens.input;
            }
            assert_eq!(charge(&seen), expected, "{shape}: {error}");
            assert_eq!(seen.stream.outcome, Outcome::UpstreamError, "{shape}: {error}");
            assert_eq!(seen.request.error_type.as_deref(), *name, "{shape}: {error}");
            let reason = if expected.0 == Some(0) { "input:not_billed" } else { "input:billing_uncertain" };
            assert!(seen.accounting.reasons.iter().any(|found| found == reason), "{shape}: {error}");
            if expected.1.is_none() {
                assert_eq!(seen.accounting.computed_output, None, "{shape}: {error}");
                assert_eq!(output_reasons(&seen), "billing_uncertain", "{shape}: {error}");
            }
        }
    }
}

#[test]
fn why_a_response_failed_may_stand_beside_its_error() {
    let failed = r#"{"type":"response.failed","response":{"status":"failed","error":null,"incomplete_details":{"reason":"content_filter"}}}"#;
    let seen = responses(&[CREATED, failed]).usage();
    assert_eq!((seen.tokens.output, seen.accounting.input_quality), (Some(0), Quality::Estimated));
    assert_eq!(seen.request.error_type.as_deref(), Some("content_filter"));
}

#[test]
fn behind_some_text_or_usage_the_prompt_has_been_read() {
    let error = r#"{"error":{"code":"rate_limit_exceeded","message":"m"}}"#;
    let reasoning = delta(r#""content":null,"reasoning_content":"Hm""#);
    for said in [text("Hello"), reasoning] {
        let seen = Call::stream(said + "data: " + error + "\n\n").usage();
        assert_eq!((seen.tokens.input, seen.accounting.input_quality), (Some(INPUT), Quality::Exact));
        assert_eq!(seen.accounting.output_quality, Quality::LowerBound);
        assert_eq!(seen.stream.outcome, Outcome::UpstreamError);
    }
    let seen = Call::stream(usage(20, 9) + "data: " + error + "\n\n").usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    assert_eq!(seen.accounting.input_source, Source::Reported);
    // What codex#8200 saw: the service fails behind some text.
    for code in ["server_error", "rate_limit_exceeded"] {
        let failed = format!(
            r#"{{"type":"response.failed","response":{{"status":"failed","error":{{"code":"{code}","message":"no_kv_space"}}}}}}"#
        );
        for said in [&[CREATED, ADDED, PART, &failed][..], &[CREATED, ADDED, &failed]] {
            let seen = responses(said).usage();
            assert!(seen.tokens.input.is_some_and(|tokens| tokens > 0), "{code}");
            assert_eq!(seen.accounting.output_quality, Quality::LowerBound, "{code}");
            assert!(!seen.accounting.reasons.iter().any(|reason| reason.contains("bill")), "{code}");
        }
    }
    let reported = last("failed", r#"{"input_tokens":20,"output_tokens":9}"#);
    let seen = responses(&[CREATED, &reported]).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
}

#[test]
fn apis_that_are_not_computed_know_when_nothing_was_billed() {
    let call = |api, body: &str| Call { api, ..Call::stream(body) }.usage();
    let error = |code: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{code}\",\"message\":\"m\"}}}}\n\n"
        )
    };
    let piece = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n";
    for api in [Api::Images, Api::Audio, Api::Other] {
        assert_eq!(charge(&call(api, &error("rate_limit_error"))), LIKE_429, "{api:?}");
        assert_eq!(charge(&call(api, &error("overloaded_error"))), (None, None, Quality::Unknown), "{api:?}");
        let seen = call(api, &(piece.to_owned() + &error("rate_limit_error")));
        assert_eq!(charge(&seen), (None, None, Quality::Unknown), "something came before it");
    }
}

/// A stream of an API of which no end marker is known ends where its framing does.
#[test]
fn a_clean_end_is_whole_where_no_end_marker_is_known() {
    let started = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n";
    let spoken = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
    let stopped = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let odd = "data: {\"x\":1}\n\n";
    for (body, done) in [
        (started.to_owned() + spoken, false),
        (started.to_owned() + spoken + stopped, true),
        (odd.repeat(3), false),
        (odd.to_owned() + DONE, true),
    ] {
        let other = |ending| Call { api: Api::Other, ending, ..Call::stream(body.clone()) }.usage();
        let seen = other(Ending::Eof);
        assert_eq!((seen.stream.outcome, seen.stream.done_seen), (Outcome::Complete, done), "{body}");
        for (ending, outcome) in [
            (Ending::UpstreamError, Outcome::UpstreamError),
            (Ending::ClientDisconnect, Outcome::ClientDisconnect),
        ] {
            let expected = if done { Outcome::Complete } else { outcome };
            assert_eq!(other(ending).stream.outcome, expected, "{ending:?}: {body}");
        }
    }
}

#[test]
fn a_clean_end_without_the_end_marker_is_a_cut_where_one_is_known() {
    let partial = "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n";
    let image = "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\"}\n\n";
    let delta = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n";
    let transcript = "data: {\"type\":\"transcript.text.done\",\"text\":\"a\"}\n\n";
    for (api, body, end) in [
        (Api::ChatCompletions, hello() + &finish("stop"), DONE),
        (Api::Completions, hello(), DONE),
        (Api::Images, partial.to_owned(), image),
        (Api::Audio, delta.to_owned(), transcript),
        (
            Api::Assistants,
            "event: thread.run.created\ndata: {}\n\n".to_owned(),
            "event: done\ndata: [DONE]\n\n",
        ),
    ] {
        let outcome = |body: String| Call { api, ..Call::stream(body) }.usage().stream.outcome;
        assert_eq!(outcome(body.clone()), Outcome::UpstreamEof, "{api:?}");
        assert_eq!(outcome(body + end), Outcome::Complete, "{api:?}");
    }
}

#[test]
fn what_breaks_behind_the_end_marker_does_not_matter() {
    let completed = last("completed", r#"{"input_tokens":20,"output_tokens":9}"#);
    let ends = [Ending::UpstreamError, Ending::ClientDisconnect, Ending::Timeout, Ending::Shutdown];
    for ending in ends {
        for call in
            [Call::stream(hello() + &finish("stop") + DONE), responses(&[CREATED, ADDED, PART, &completed])]
        {
            let whole = call.usage();
            let broken = Call { ending, ..call }.usage();
            assert_eq!(broken.stream.outcome, Outcome::Complete, "{ending:?}");
            assert_eq!((&broken.tokens, &broken.accounting), (&whole.tokens, &whole.accounting));
        }
        // An error stays one.
        let failed = Call { ending, ..responses(&[CREATED, ADDED, PART, &last("failed", "null")]) }.usage();
        assert_eq!(failed.stream.outcome, Outcome::UpstreamError, "{ending:?}");
    }
    // A document has no end marker: it is whole where its framing says so.
    let whole = r#"{"model":"gpt-4o-2024-08-06","choices":[]}"#;
    let broken = Call { ending: Ending::UpstreamError, ..Call::json(whole) }.usage();
    assert_eq!(broken.stream.outcome, Outcome::UpstreamError);
}

/// Where a coding cannot be undone, the end marker may have stood behind that place. An answer that is
/// only skimmed is read to its end: it was cut if it has no end marker.
#[test]
fn a_clean_end_of_what_was_not_all_read_is_no_cut() {
    let draft = Usage::draft(
        Caller::unattributed(Trust::None),
        Target { api: Api::ChatCompletions, ..Target::default() },
    );
    let plain: HeaderMap = Call::stream("").headers;
    let mut coded = plain.clone();
    coded.insert(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    for (headers, end, ending, outcome, reason) in [
        (&coded, "", Ending::Eof, Outcome::Complete, "encoding"),
        (&coded, "", Ending::UpstreamError, Outcome::UpstreamError, "encoding"),
        (&plain, "", Ending::Eof, Outcome::UpstreamEof, "meter_overload"),
        (&plain, "data: [DONE]\n\n", Ending::Eof, Outcome::Complete, "meter_overload"),
        (&plain, "", Ending::UpstreamError, Outcome::UpstreamError, "meter_overload"),
    ] {
        let mut meter = Meter::new(draft.clone(), Rules { end_of_turn: false });
        meter.request_bytes(b"{}");
        meter.request_end();
        meter.response_head(http::StatusCode::OK, headers);
        meter.response_bytes(hello().as_bytes(), usize::MAX);
        if reason == "meter_overload" {
            meter.skim();
        }
        meter.response_bytes(end.as_bytes(), usize::MAX);
        let seen = meter.settle(ending);
        assert_eq!(seen.stream.outcome, outcome);
        let reasons = output_reasons(&seen);
        assert!(reasons.contains(reason) && !reasons.contains("complete"), "{reasons}");
    }
}

/// Answers without a body of their own, and those that send the caller elsewhere.
#[test]
fn answers_that_are_neither_success_nor_error() {
    let call = |status, body: &str| Call { status, ..Call::json(body) }.usage();
    for status in [301, 302, 303, 304, 307, 308] {
        let seen = call(status, "");
        assert_eq!(charge(&seen), LIKE_422, "{status}");
        assert_eq!(seen.stream.outcome, Outcome::UpstreamStatus);
    }
    for status in [204, 205] {
        let seen = call(status, "");
        assert_eq!(
            (seen.tokens.output, seen.accounting.input_quality),
            (None, Quality::Estimated),
            "{status}"
        );
    }
    let treatment = Treatment::Unmetered;
    let seen = Call { treatment, status: 101, api: Api::Websocket, ..Call::json("") }.usage();
    assert_eq!((charge(&seen), seen.stream.outcome), ((None, None, Quality::Unknown), Outcome::Complete));
    assert_eq!(seen.accounting.reasons, ["input:unmetered", "output:unmetered"]);
}
