//! The meter against exchanges of our own: every ending, shape, coding and split.

mod agents;
mod answers;
mod cases;
mod charged;
pub(super) mod codings;
mod deferred;
mod early;
mod fast_way;
mod labels;
mod logprobs;
mod long;
mod media;
mod messages;
mod plain;
mod responses;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::*;
use crate::caller::{Caller, Trust};
use crate::usage::{Api, Outcome, Quality, Source, Target, Usage};

const FREE: Rules = Rules { end_of_turn: false };
const AZURE: Rules = Rules { end_of_turn: true };
const MODEL: &str = "gpt-4o-2024-08-06";
const REQUEST: &str =
    r#"{"stream":true,"messages":[{"role":"user","content":"Hello"}],"model":"my-deployment"}"#;

fn draft(api: Api) -> Usage {
    Usage::draft(Caller::unattributed(Trust::None), Target { api, ..Target::default() })
}

fn headers(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

/// A whole call, its prompt counted whenever the meter asks for it.
struct Exchange<'a> {
    api: Api,
    rules: Rules,
    request: &'a str,
    status: u16,
    headers: HeaderMap,
    body: &'a [u8],
    ending: Ending,
    piece_bytes: usize,
    budget_bytes: usize,
}

impl<'a> Exchange<'a> {
    fn stream(body: &'a str) -> Exchange<'a> {
        Exchange {
            api: Api::ChatCompletions,
            rules: FREE,
            request: REQUEST,
            status: 200,
            headers: headers("text/event-stream; charset=utf-8"),
            body: body.as_bytes(),
            ending: Ending::Eof,
            piece_bytes: usize::MAX,
            budget_bytes: usize::MAX,
        }
    }

    fn json(body: &'a str) -> Exchange<'a> {
        Exchange { headers: headers("application/json"), ..Exchange::stream(body) }
    }

    fn run(&self) -> Usage {
        let mut meter = Meter::new(draft(self.api), self.rules);
        self.request.as_bytes().chunks(self.piece_bytes).for_each(|piece| meter.request_bytes(piece));
        meter.request_end();
        let count = |meter: &mut Meter| {
            if let PromptNeed::Count { model } = meter.prompt_need() {
                let body = [Bytes::copy_from_slice(self.request.as_bytes())];
                meter.prompt_counted(count_prompt(self.api, &body, &model));
            }
        };
        meter.response_head(StatusCode::from_u16(self.status).unwrap(), &self.headers);
        count(&mut meter);
        for mut piece in self.body.chunks(self.piece_bytes) {
            while !piece.is_empty() {
                piece = &piece[meter.response_bytes(piece, self.budget_bytes)..];
                meter.progress();
            }
            count(&mut meter);
        }
        meter.end(self.ending);
        count(&mut meter);
        meter.settle(self.ending)
    }
}

fn event(choices: &str) -> String {
    format!(r#"data: {{"id":"c1","model":"{MODEL}","choices":[{choices}],"usage":null}}"#) + "\n\n"
}

fn content(index: u32, text: &str) -> String {
    event(&format!(r#"{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":null}}"#))
}

fn finish(index: u32, reason: &str) -> String {
    event(&format!(r#"{{"index":{index},"delta":{{}},"finish_reason":"{reason}"}}"#))
}

fn usage(input: i64, output: i64) -> String {
    format!(
        r#"data: {{"choices":[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}}}"#,
        input + output
    ) + "\n\n"
}

const FILTER: &str =
    "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"prompt_filter_results\":[]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Azure's stream: filter results first, text, end.
fn plain_stream() -> String {
    [FILTER, &content(0, ""), &content(0, "Hello"), &content(0, ", world"), &finish(0, "stop"), DONE].concat()
}

#[test]
fn a_stream_without_usage_is_computed() {
    let body = plain_stream();
    let event = Exchange::stream(&body).run();
    assert_eq!((event.tokens.input, event.tokens.output), (Some(8), Some(3)));
    assert_eq!(event.accounting.output_source, Source::Computed);
    assert_eq!(
        (event.accounting.input_quality, event.accounting.output_quality),
        (Quality::Exact, Quality::Exact)
    );
    assert_eq!(event.accounting.reasons, [""; 0]);
    assert_eq!(event.accounting.tokenizer.as_deref(), Some("o200k_base"));
    assert_eq!(
        (event.stream.outcome, event.stream.done_seen, event.stream.events),
        (Outcome::Complete, true, 6)
    );
    assert_eq!(
        (event.target.model.as_deref(), event.target.deployment.as_deref()),
        (Some(MODEL), Some("my-deployment"))
    );
    assert_eq!((event.ids.response_id.as_deref(), event.request.choices), (Some("c1"), Some(1)));
    assert_eq!(Exchange { rules: AZURE, ..Exchange::stream(&body) }.run().tokens.output, Some(4));
}

#[test]
fn reported_usage_wins_from_whatever_chunk() {
    let text = [content(0, "Hello"), content(0, ", world"), finish(0, "stop")].concat();
    let on_finish = text.replacen("\"usage\":null}\n\ndata: [", "", 1)
        + &event(r#"{"index":0,"delta":{}}"#)
            .replace("null}", r#"{"prompt_tokens":20,"completion_tokens":9}}"#);
    for body in [
        text.clone() + &usage(20, 9) + DONE,
        usage(0, 0) + &text + &usage(0, 0) + &usage(20, 9) + DONE,
        usage(20, 1)
            + &text.replace("\n\n", &format!("\n\n{}", usage(20, 5)))
            + &usage(20, 9)
            + &usage(0, 0)
            + DONE,
        text.clone() + &usage(20, 9) + FILTER + DONE,
        on_finish + DONE,
    ] {
        let event = Exchange::stream(&body).run();
        assert_eq!((event.tokens.input, event.tokens.output), (Some(20), Some(9)), "{body}");
        assert_eq!(
            (event.accounting.output_source, event.accounting.output_quality),
            (Source::Reported, Quality::Exact)
        );
        assert_eq!((event.accounting.computed_output, event.accounting.computed_input), (Some(3), None));
        assert_eq!(event.accounting.reasons, [""; 0]);
    }
    let absurd = text + &usage(-3, 9) + DONE;
    let event = Exchange::stream(&absurd).run();
    assert_eq!((event.tokens.output, event.stream.parse_errors), (Some(3), 1));
}

#[test]
fn case_26_choices_and_calls_are_counted_each_for_itself() {
    let two = [
        content(1, "Hel"),
        content(0, "Hello"),
        content(1, "lo"),
        finish(1, "stop"),
        content(0, ", world"),
        finish(0, "length"),
    ];
    let event = Exchange { rules: AZURE, ..Exchange::stream(&(two.concat() + DONE)) }.run();
    assert_eq!((event.tokens.output, event.request.choices), (Some(1 + 1 + 3), Some(2)));
    assert_eq!(event.stream.finish_reasons, ["length", "stop"]);

    let call = |index: u32, function: &str| {
        super::tests::event(&format!(
            r#"{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"function":{{{function}}}}}]}}}}"#
        ))
    };
    let request = r#"{"stream":true,"messages":[],"tools":[{"type":"function","function":{"name":"find"}}]}"#;
    let one = [
        call(0, r#""name":"find","arguments":"""#),
        call(0, r#""arguments":"{\"a\":""#),
        call(0, r#""arguments":"1}""#),
        finish(0, "tool_calls"),
    ];
    let n = |text: &str| crate::tokens::count(crate::tokens::Encoding::O200kBase, text);
    let single = n(" to=functions.find") + n("{\"a\":1}") + 4;
    assert_eq!(
        Exchange { request, ..Exchange::stream(&(one.concat() + DONE)) }.run().tokens.output,
        Some(single)
    );

    let both = [&one[..3].concat(), &call(1, r#""name":"get","arguments":"{ }""#), &finish(0, "tool_calls")]
        .map(String::as_str)
        .concat();
    let wrapper = r#"{"tool_uses":[{"recipient_name":"functions.find","parameters":{"a":1}},{"recipient_name":"functions.get","parameters":{}}]}"#;
    let parallel = n(" to=multi_tool_use.parallel") + n(wrapper) + 4;
    assert_eq!(Exchange { request, ..Exchange::stream(&(both + DONE)) }.run().tokens.output, Some(parallel));
    assert_eq!(Exchange { request, ..Exchange::stream(&plain_stream()) }.run().tokens.output, Some(4));
}

#[test]
fn a_cut_stream_is_a_lower_bound() {
    let body = [content(0, "Hello"), content(0, ", world")].concat();
    for (ending, outcome) in [
        (Ending::Eof, Outcome::UpstreamEof),
        (Ending::ClientDisconnect, Outcome::ClientDisconnect),
        (Ending::UpstreamError, Outcome::UpstreamError),
        (Ending::Timeout, Outcome::Timeout),
        (Ending::Shutdown, Outcome::Shutdown),
    ] {
        let event = Exchange { ending, rules: AZURE, ..Exchange::stream(&body) }.run();
        assert_eq!((event.stream.outcome, event.tokens.output), (outcome, Some(3)));
        assert_eq!(
            (event.accounting.output_quality, event.accounting.input_quality),
            (Quality::LowerBound, Quality::Exact)
        );
        assert_eq!(event.accounting.reasons, [format!("output:{}", outcome.as_str())]);
    }
    let early = Exchange { ending: Ending::ClientDisconnect, ..Exchange::stream(FILTER) }.run();
    assert_eq!((early.tokens.output, early.accounting.output_quality), (Some(0), Quality::LowerBound));
    // A running total is no total.
    let running = body
        + &event(r#"{"index":0,"delta":{}}"#)
            .replace("null}", r#"{"prompt_tokens":20,"completion_tokens":2}}"#);
    let event = Exchange { ending: Ending::ClientDisconnect, ..Exchange::stream(&running) }.run();
    assert_eq!((event.tokens.output, event.accounting.output_quality), (Some(2), Quality::LowerBound));
}

#[test]
fn a_hang_up_after_the_end_marker_is_complete() {
    let body = plain_stream();
    for ending in [Ending::ClientDisconnect, Ending::Shutdown, Ending::Timeout] {
        let event = Exchange { ending, ..Exchange::stream(&body) }.run();
        assert_eq!(
            (event.stream.outcome, event.accounting.output_quality),
            (Outcome::Complete, Quality::Exact)
        );
    }
    let unterminated = body.trim_end();
    assert_eq!(Exchange::stream(unterminated).run().stream.outcome, Outcome::Complete);
}

#[test]
fn an_error_in_the_stream_is_an_error() {
    for error in [
        "data: {\"error\":{\"message\":\"secret\",\"code\":\"server_error\"}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"secret\"}\n\n",
    ] {
        for end in ["", DONE] {
            let body = content(0, "Hello") + error + end;
            let event = Exchange::stream(&body).run();
            assert_eq!(event.stream.outcome, Outcome::UpstreamError);
            assert_eq!(
                (event.tokens.output, event.accounting.output_quality),
                (Some(1), Quality::LowerBound)
            );
            assert_eq!(event.request.error_type.as_deref(), Some("server_error"));
        }
    }
}

#[test]
fn answers_that_are_no_success() {
    let body = r#"{"error":{"code":"content_filter","message":"secret"}}"#;
    let request = REQUEST.replace("my-deployment", "gpt-4o");
    for (status, input, output, quality) in [
        (400, Some(8), Some(0), Quality::Estimated),
        (401, Some(0), Some(0), Quality::Exact),
        (404, Some(0), Some(0), Quality::Exact),
        (429, Some(0), Some(0), Quality::Exact),
        (408, Some(8), None, Quality::Estimated),
        (503, Some(8), None, Quality::Estimated),
        (422, Some(0), Some(0), Quality::Estimated),
    ] {
        let event = Exchange { status, request: &request, ..Exchange::json(body) }.run();
        assert_eq!((event.tokens.input, event.tokens.output), (input, output), "{status}");
        assert_eq!(
            (event.accounting.input_quality, event.stream.outcome),
            (quality, Outcome::UpstreamStatus),
            "{status}"
        );
        let reason = if input == Some(0) { "input:not_billed" } else { "input:billing_uncertain" };
        assert!(event.accounting.reasons.iter().any(|found| found == reason), "{status}");
        assert_eq!(
            (event.request.error_type.as_deref(), event.request.status),
            (Some("content_filter"), status)
        );
    }
}

#[test]
fn a_call_without_an_answer() {
    let settle = |ending| {
        let mut meter = Meter::new(draft(Api::ChatCompletions), FREE);
        meter.request_bytes(REQUEST.replace("my-deployment", "gpt-4o").as_bytes());
        meter.request_end();
        meter.end(ending);
        (meter.prompt_need(), meter.settle(ending))
    };
    let (need, rejected) = settle(Ending::Rejected);
    assert_eq!(
        (need, rejected.tokens.input, rejected.stream.outcome),
        (PromptNeed::No, Some(0), Outcome::Rejected)
    );
    let (need, timeout) = settle(Ending::Timeout);
    assert_eq!(need, PromptNeed::Count { model: "gpt-4o".into() });
    assert_eq!((timeout.tokens.output, timeout.accounting.output_quality), (None, Quality::Unknown));
    let (_, left) = settle(Ending::ClientDisconnect);
    assert_eq!((left.tokens.output, left.accounting.output_quality), (Some(0), Quality::LowerBound));
}

const WHOLE: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello, world"},"finish_reason":"stop"}],"id":"c1","model":"gpt-4o-2024-08-06"}"#;

#[test]
fn a_whole_body() {
    let event = Exchange::json(WHOLE).run();
    assert_eq!((event.tokens.input, event.tokens.output), (Some(8), Some(3)));
    assert_eq!((event.stream.outcome, event.accounting.output_quality), (Outcome::Complete, Quality::Exact));
    let cut = Exchange { ending: Ending::ClientDisconnect, ..Exchange::json(&WHOLE[..100]) }.run();
    assert_eq!((cut.tokens.output, cut.stream.parse_errors), (None, 0));
    assert_eq!(cut.accounting.reasons, ["input:unknown_model", "output:client_disconnect"]);
    let garbage = Exchange::json("<html>").run();
    assert_eq!((garbage.tokens.output, garbage.tokens.input, garbage.stream.parse_errors), (None, None, 1));
}

#[test]
fn a_long_body_still_shows_its_usage() {
    let text = "x".repeat(5 << 20);
    let body = format!(
        r#"{{"usage":{{"prompt_tokens":7,"completion_tokens":8}},"choices":[{{"message":{{"content":"{text}"}}}}],"model":"{MODEL}"}}"#
    );
    let event = Exchange { piece_bytes: 100_000, ..Exchange::json(&body) }.run();
    assert_eq!(
        (event.tokens.input, event.tokens.output, event.accounting.computed_output),
        (Some(7), Some(8), None)
    );
    assert_eq!(event.target.model.as_deref(), Some(MODEL));
}

#[test]
fn a_stream_may_lack_its_type() {
    let body = plain_stream();
    for headers in [HeaderMap::new(), headers("application/json"), headers("application/octet-stream")] {
        let event = Exchange { headers, piece_bytes: 3, ..Exchange::stream(&body) }.run();
        assert_eq!((event.tokens.output, event.stream.outcome), (Some(3), Outcome::Complete));
    }
    let json = Exchange { headers: HeaderMap::new(), ..Exchange::stream(WHOLE) }.run();
    assert_eq!(json.tokens.output, Some(3));
}

#[test]
fn labels_say_what_is_not_sure() {
    let output = |request: &str, body: &str| {
        let event = Exchange { request, ..Exchange::stream(body) }.run();
        let reasons = event.accounting.reasons.into_iter().filter(|reason| reason.starts_with("output:"));
        (event.accounting.output_quality, reasons.collect::<Vec<_>>().join(" "))
    };
    let plain = plain_stream();
    let request = |more: &str| REQUEST.replacen('{', &format!("{{{more},"), 1);
    assert_eq!(
        output(&request(r#""prediction":{}"#), &plain),
        (Quality::Estimated, "output:prediction".to_owned())
    );
    let filtered = plain.replace("\"stop\"", "\"content_filter\"");
    assert_eq!(output(REQUEST, &filtered), (Quality::Estimated, "output:content_filter".to_owned()));
    let hidden = plain.replace(MODEL, "gpt-5-mini");
    assert_eq!(output(REQUEST, &hidden), (Quality::LowerBound, "output:reasoning_hidden".to_owned()));
    let unknown = plain.replace(MODEL, "lama-9");
    assert_eq!(output(REQUEST, &unknown), (Quality::Unknown, "output:unknown_model".to_owned()));
    let unproven = plain.replace(MODEL, "gpt-4o-nova");
    assert_eq!(output(REQUEST, &unproven), (Quality::Estimated, "output:unknown_model".to_owned()));
    assert_eq!(output(REQUEST, &(content(0, "x") + "data: {\n\n" + &plain)).1, "output:unreadable");
    assert_eq!(output(REQUEST, DONE), (Quality::Unknown, "output:no_choices".to_owned()));
}

#[test]
fn what_could_not_be_shown_or_kept_is_unknown() {
    let mut meter = Meter::new(draft(Api::ChatCompletions), FREE);
    meter.request_bytes(REQUEST.as_bytes());
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    meter.response_bytes(plain_stream().as_bytes(), usize::MAX);
    meter.skim();
    meter.prompt_not_kept();
    let event = meter.settle(Ending::Eof);
    assert_eq!((event.tokens.input, event.tokens.output), (None, None));
    assert_eq!(event.accounting.reasons, ["input:prompt_not_kept", "output:meter_overload"]);
}

#[test]
fn the_prompt_is_asked_for_when_it_is_clear_that_it_is_needed() {
    let ask = |request: &str, body: &str| {
        let mut meter = Meter::new(draft(Api::ChatCompletions), FREE);
        let mut needs = vec![meter.prompt_need()];
        meter.request_bytes(request.as_bytes());
        meter.request_end();
        needs.push(meter.prompt_need());
        meter.response_head(StatusCode::OK, &headers("text/event-stream"));
        meter.response_bytes(body.as_bytes(), usize::MAX);
        needs.push(meter.prompt_need());
        meter.end(Ending::Eof);
        needs.push(meter.prompt_need());
        needs
    };
    let (keep, no, count) = (PromptNeed::Keep, PromptNeed::No, PromptNeed::Count { model: MODEL.into() });
    let text = content(0, "Hello");
    assert_eq!(ask(REQUEST, &text), [keep.clone(), keep.clone(), count.clone(), count.clone()]);
    let asked = REQUEST.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    assert_eq!(ask(&asked, &text), [keep.clone(), keep.clone(), keep.clone(), count]);
    assert_eq!(ask(&asked, &(text + &usage(1, 2))), [keep.clone(), keep, no.clone(), no]);
}

#[test]
fn case_71_other_apis_report_or_are_unknown() {
    let embeddings = r#"{"data":[{"embedding":"AAAA"}],"model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}}"#;
    let event = Exchange { api: Api::Embeddings, ..Exchange::json(embeddings) }.run();
    assert_eq!((event.tokens.input, event.tokens.output, event.tokens.total), (Some(5), Some(0), Some(5)));
    let responses = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"gpt-4o\",\"usage\":null}}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
    let event = Exchange { api: Api::Responses, ..Exchange::stream(responses) }.run();
    assert_eq!(
        (event.tokens.input, event.tokens.output, event.tokens.output_reasoning),
        (Some(3), Some(4), Some(1))
    );
    assert_eq!((event.stream.outcome, event.ids.response_id.as_deref()), (Outcome::Complete, Some("r")));
    for api in [Api::Audio, Api::Images, Api::Other] {
        let event = Exchange { api, ..Exchange::json("{}") }.run();
        assert_eq!((event.tokens.input, event.tokens.output), (None, None));
        assert_eq!(event.accounting.reasons, ["input:no_usage", "output:no_usage"]);
    }
}

#[test]
fn a_blind_meter_does_not_see_usage() {
    let body = plain_stream().replace(DONE, &(usage(99, 99) + DONE));
    let run = |body: &str| {
        let mut meter = Meter::new(draft(Api::ChatCompletions), FREE).blind();
        meter.request_bytes(REQUEST.as_bytes());
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers("text/event-stream"));
        meter.response_bytes(body.as_bytes(), usize::MAX);
        meter.settle(Ending::Eof)
    };
    let (with, without) = (run(&body), run(&plain_stream()));
    assert_eq!((with.tokens, with.accounting), (without.tokens, without.accounting));
}

#[test]
fn no_text_of_the_exchange_is_in_the_event() {
    let request = r#"{"stream":true,"model":"SECRET\n","user":"SECRET","messages":[{"role":"user","content":"SECRET"}],"tools":[{"type":"function","function":{"name":"SECRET"}}]}"#;
    let body = [
        content(0, "SECRET"),
        event(r#"{"index":0,"delta":{"refusal":"SECRET","tool_calls":[{"function":{"name":"SECRET","arguments":"SECRET"}}]},"finish_reason":"SECRET"}"#),
        "data: {\"error\":{\"message\":\"SECRET\",\"code\":\"x\\u0000SECRET\"},\"model\":\"SECRET\\u00e9\"}\n\n".to_owned(),
    ];
    let event = Exchange { request, ..Exchange::stream(&body.concat()) }.run();
    let json = serde_json::to_string(&event).unwrap();
    assert!(!json.contains("SECRET"), "{json}");
}

fn any_stream() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        "Hello", " world", "\\n\\n", "\\ud83d", "\\ude00", "😀", "中文", "", "\\\"", "don't", "  ", "1234",
    ]);
    let part = prop_oneof![
        8 => (0..3_u32, text).prop_map(|(index, text)| content(index, text)),
        1 => (0..3_u32).prop_map(|index| finish(index, "stop")),
        1 => Just(FILTER.to_owned()),
        1 => Just(": comment\r\n\r\n".to_owned()),
        1 => Just("data: {\"broken\r\r".to_owned()),
        1 => Just(usage(0, 0)),
        1 => Just(usage(12, 34)),
        1 => Just(DONE.to_owned()),
    ];
    prop::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn splits_codings_and_budgets_do_not_matter(body in any_stream(), piece_bytes in 1_usize..400, budget_bytes in 1_usize..300) {
        let whole = Exchange::stream(&body).run();
        let split = Exchange { piece_bytes, budget_bytes, ..Exchange::stream(&body) }.run();
        prop_assert_eq!(&whole, &split);
        let coded = codings::gzip(body.as_bytes());
        let mut headers = headers("text/event-stream");
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let coded = Exchange { headers, piece_bytes, budget_bytes, body: &coded, ..Exchange::stream(&body) }.run();
        prop_assert_eq!(&whole, &coded);
    }

    #[test]
    fn any_bytes_are_survived(
        body in prop::collection::vec(any::<u8>(), 0..300),
        request in "[\\[\\]{}\":,a1\\\\ ]{0,60}",
        coding in prop::sample::select(vec!["", "gzip", "br", "zstd", "deflate", "x"]),
        kind in prop::sample::select(vec!["text/event-stream", "application/json", ""]),
    ) {
        let mut headers = headers(kind);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        let garbage = Exchange { request: &request, headers, body: &body, piece_bytes: 7, ..Exchange::stream("") };
        let event = garbage.run();
        prop_assert!(event.tokens.output.is_none_or(|tokens| tokens == 0));
    }
}
