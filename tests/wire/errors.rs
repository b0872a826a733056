//! Cases 38 to 42: what the service says when it does not answer.

use metering::meter::Ending;
use metering::usage::{Outcome, Quality};

use crate::call::{Call, DONE, INPUT, finish, hello, text};

#[test]
fn case_38_an_error_in_the_stream() {
    for error in [
        "data: {\"error\":{\"message\":\"m\",\"code\":\"server_error\"}}\n\n",
        "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"server_error\"}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\"}\n\n",
    ] {
        for end in ["", DONE] {
            let seen = Call::stream(text("Hello") + error + end).usage();
            assert_eq!(seen.stream.outcome, Outcome::UpstreamError, "{error}{end}");
            assert_eq!((seen.tokens.output, seen.accounting.output_quality), (Some(1), Quality::LowerBound));
            assert_eq!(seen.request.error_type.as_deref(), Some("server_error"));
        }
    }
}

#[test]
fn case_39_a_stream_was_wanted_and_an_error_came() {
    let body = r#"{"error":{"code":"too_busy","message":"m"}}"#;
    for status in [400, 404, 429, 500, 503] {
        let seen = Call { status, ..Call::stream(body).of_type("application/json") }.usage();
        assert_eq!(seen.stream.outcome, Outcome::UpstreamStatus);
        assert_eq!((seen.request.status, seen.request.error_type.as_deref()), (status, Some("too_busy")));
    }
}

#[test]
fn case_40_a_filtered_prompt_is_charged() {
    for body in [
        r#"{"error":{"code":"content_filter","status":400,"param":"prompt","message":"m","innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}"#,
        r#"{"error":{"code":"content_filter","message":"m","content_filters":[{"blocked":true}]}}"#,
    ] {
        let seen = Call { status: 400, ..Call::json(body) }.usage();
        assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(0)));
        assert_eq!(seen.accounting.input_quality, Quality::Estimated);
        assert_eq!(seen.request.error_type.as_deref(), Some("content_filter"));
    }
}

#[test]
fn case_41_nobody_says_whether_it_is_billed() {
    for status in [408, 500, 503] {
        let seen = Call { status, ..Call::json(r#"{"error":{"code":"x"}}"#) }.usage();
        assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), None), "null is not 0");
        assert!(seen.accounting.reasons.contains(&"input:billing_uncertain".into()), "{status}");
    }
}

#[test]
fn case_42_too_many_requests_cost_nothing() {
    let retry = http::HeaderName::from_static("retry-after-ms");
    let seen = Call { status: 429, ..Call::json(r#"{"error":{"code":"429"}}"#).with(retry, "700") }.usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(0), Some(0)));
    assert_eq!((seen.accounting.input_quality, seen.request.status), (Quality::Exact, 429));
}

#[test]
fn case_43_a_cut_is_told_from_an_end() {
    for (ending, outcome) in
        [(Ending::UpstreamError, Outcome::UpstreamError), (Ending::Eof, Outcome::UpstreamEof)]
    {
        for body in [hello(), hello() + &finish("stop")] {
            let seen = Call { ending, ..Call::stream(body) }.usage();
            assert_eq!((seen.stream.outcome, seen.tokens.output), (outcome, Some(3)));
            assert_eq!(seen.accounting.output_quality, Quality::LowerBound);
        }
    }
}
