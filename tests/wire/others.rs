//! Cases 68 to 78, 86 to 88: other bodies, other APIs, and what the head of an answer says.

use http::HeaderName;
use metering::meter::Treatment;
use metering::usage::{Api, Outcome, Quality, Source};

use crate::call::{Call, INPUT, MODEL, plain};

#[test]
fn case_68_a_stream_is_known_by_its_type_or_its_first_bytes() {
    for content_type in [
        "Text/Event-Stream; charset=utf-8",
        "text/event-stream",
        "",
        "application/octet-stream",
        "application/json",
        "text/plain",
    ] {
        let seen = Call::stream(plain()).of_type(content_type).usage();
        assert_eq!((seen.tokens.output, seen.stream.outcome), (Some(3), Outcome::Complete), "{content_type}");
    }
    let mut bare = Call::stream(plain());
    bare.headers.clear();
    assert_eq!(bare.usage().tokens.output, Some(3));
}

#[test]
fn case_69_usage_before_and_behind_a_long_answer() {
    let choices = |bytes: usize| {
        format!(
            r#""choices":[{{"index":0,"message":{{"content":"{}"}},"finish_reason":"stop"}}]"#,
            "x ".repeat(bytes / 2)
        )
    };
    let usage = r#""usage":{"prompt_tokens":20,"completion_tokens":9}"#;
    for bytes in [100, 5 << 20] {
        for body in [
            format!(r#"{{{usage},{},"model":"{MODEL}"}}"#, choices(bytes)),
            format!(r#"{{"model":"{MODEL}",{},{usage}}}"#, choices(bytes)),
            format!("{{\n  \"model\" : \"{MODEL}\",\n\t{},\r\n  {usage}\n}}\n", choices(bytes)),
        ] {
            let seen = Call::json(body).usage_in_pieces(40_000);
            assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
        }
    }
    let hello = r#""choices":[{"index":0,"message":{"content":"Hello, world"},"finish_reason":"stop"}]"#;
    let seen = Call::json(format!(r#"{{"model":"{MODEL}",{hello}}}"#)).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(3)));
    assert_eq!(seen.accounting.output_source, Source::Computed);
}

#[test]
fn case_70_embeddings() {
    let answer = |data: &str, usage: &str| {
        format!(
            r#"{{"object":"list","data":[{{"index":0,"embedding":{data}}}],"model":"text-embedding-3-small"{usage}}}"#
        )
    };
    let embed = |request: &str, body: String| {
        Call { api: Api::Embeddings, request: request.to_owned(), ..Call::json(body) }.usage()
    };
    let usage = r#","usage":{"prompt_tokens":5,"total_tokens":5}"#;
    for (request, data) in [
        (r#"{"input":"Hello","model":"text-embedding-3-small"}"#, "[0.1,-2e-3]"),
        (r#"{"input":[[1,2,3],[4,5]],"model":"text-embedding-3-small"}"#, "[0.1]"),
        (r#"{"input":"Hello","encoding_format":"base64","model":"text-embedding-3-small"}"#, "\"AAAA\""),
    ] {
        let seen = embed(request, answer(data, usage));
        assert_eq!((seen.tokens.input, seen.tokens.output, seen.tokens.total), (Some(5), Some(0), Some(5)));
    }
    let tokens = r#"{"input":[[1,2,3],[4,5]],"model":"text-embedding-3-small"}"#;
    let seen = embed(tokens, answer("[0.1]", ""));
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(5), Some(0)), "tokens are counted as such");
}

#[test]
fn case_71_sound_and_images() {
    let call = |api, content_type, body: &str| Call { api, ..Call::json(body).of_type(content_type) }.usage();
    let json = "application/json";
    let tokens = r#"{"text":"t","usage":{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19,"input_token_details":{"audio_tokens":14}}}"#;
    let seen = call(Api::Audio, json, tokens);
    assert_eq!(
        (seen.tokens.input, seen.tokens.output, seen.tokens.input_audio),
        (Some(14), Some(5), Some(14))
    );
    for (content_type, body) in [
        (json, r#"{"text":"t","usage":{"type":"duration","seconds":12}}"#),
        ("text/plain", "what was said"),
        ("audio/mpeg", "\u{1}\u{2}binary"),
    ] {
        let seen = call(Api::Audio, content_type, body);
        assert_eq!((seen.tokens.input, seen.tokens.output), (None, None), "{body}: no number is made up");
        assert_eq!(seen.accounting.output_quality, Quality::Unknown);
    }
    let seen = call(Api::Audio, json, r#"{"text":"t","usage":{"type":"duration","seconds":12}}"#);
    assert_eq!(
        (seen.units.audio_ms, seen.accounting.reasons.len()),
        (Some(12_000), 0),
        "it told of something else"
    );
    let verbose = r#"{"task":"transcribe","language":"english","duration":8.470000267028809,"text":"teal","segments":[]}"#;
    assert_eq!(call(Api::Audio, json, verbose).units.audio_ms, Some(8_470));
    let image = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"input_tokens\":6,\"output_tokens\":700,\"total_tokens\":706}}\n\n";
    let seen = call(Api::Images, "text/event-stream", image);
    assert_eq!((seen.tokens.input, seen.tokens.output, seen.units.images), (Some(6), Some(700), Some(1)));
    let seen = call(Api::Images, "text/event-stream", &image.repeat(3));
    assert_eq!((seen.tokens.input, seen.tokens.output, seen.units.images), (Some(18), Some(2100), Some(3)));
    assert_eq!(seen.accounting.reasons, ["input:several_usages", "output:several_usages"]);
    assert_eq!(
        (seen.accounting.output_quality, seen.stream.outcome),
        (Quality::Estimated, Outcome::Complete)
    );
    let two = r#"{"created":1795000000,"data":[{"b64_json":"iVBO"},{"b64_json":"iVBO"}],"size":"1024x1024","quality":"high"}"#;
    let seen = call(Api::Images, json, two);
    assert_eq!((seen.units.images, seen.tokens.input), (Some(2), None));
    assert_eq!(seen.request.size.as_deref(), Some("1024x1024"));
}

#[test]
fn pages_and_searches_are_what_is_billed() {
    let call = |api, body: &str| Call { api, treatment: Treatment::ReportedOnly, ..Call::json(body) }.usage();
    let pages = r#"{"pages":[{"index":0,"markdown":"x"}],"model":"mistral-document-ai-2512","usage_info":{"pages_processed":2,"doc_size_bytes":4096}}"#;
    let seen = call(Api::Ocr, pages);
    assert_eq!((seen.tokens.input, seen.tokens.output, seen.units.pages), (None, None, Some(2)));
    let searched = r#"{"id":"r1","results":[{"index":1,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":2}}}"#;
    let seen = call(Api::Rerank, searched);
    assert_eq!((seen.tokens.input, seen.units.search_units), (None, Some(2)));
    assert!(seen.accounting.reasons.is_empty(), "{:?}", seen.accounting.reasons);
    let embedded =
        r#"{"id":"c1","embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":3,"images":1}}}"#;
    let seen = call(Api::Embeddings, embedded);
    assert_eq!((seen.tokens.input, seen.tokens.output, seen.units.images), (Some(3), Some(0), Some(1)));
}

const ASK: &str = r#"{"stream":true,"model":"gpt-4o","input":"Hello"}"#;

pub(crate) fn responses(events: &[&str]) -> Call {
    let event = |data: &&str| {
        let kind: serde_json::Value = serde_json::from_str(data).unwrap();
        format!("event: {}\ndata: {data}\n\n", kind["type"].as_str().unwrap())
    };
    let body = events.iter().map(event).collect::<String>();
    Call { api: Api::Responses, request: ASK.to_owned(), ..Call::stream(body) }
}

pub(crate) const CREATED: &str = r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt-4o-2024-08-06","status":"in_progress","usage":null,"output":[]}}"#;
pub(crate) const ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message","content":[]}}"#;
pub(crate) const PART: &str = r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"item_id":"m","delta":"Hello, world"}"#;
const TEXT_DONE: &str = r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"item_id":"m","text":"Hello, world"}"#;
const ITEM_DONE: &str = r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"m","type":"message","content":[{"type":"output_text","text":"Hello, world"}]}}"#;

/// The last event of a response.
pub(crate) fn last(kind: &str, usage: &str) -> String {
    format!(
        r#"{{"type":"response.{kind}","response":{{"id":"resp_1","model":"gpt-4o-2024-08-06","status":"{kind}","usage":{usage},"output":[{{"id":"m","type":"message","content":[{{"type":"output_text","text":"Hello, world"}}]}}]}}}}"#
    )
}

#[test]
fn case_72_a_text_that_is_said_three_times_is_counted_once() {
    let usage = r#"{"input_tokens":20,"output_tokens":9,"output_tokens_details":{"reasoning_tokens":0}}"#;
    let seen = responses(&[CREATED, ADDED, PART, TEXT_DONE, ITEM_DONE, &last("completed", usage)]).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    assert_eq!((seen.stream.outcome, seen.ids.response_id.as_deref()), (Outcome::Complete, Some("resp_1")));
    let thrice = seen.accounting.computed_output;
    let once =
        responses(&[CREATED, ADDED, PART, &last("completed", usage)]).usage().accounting.computed_output;
    assert_eq!(thrice, once);
    assert!(once.is_some_and(|tokens| (3..20).contains(&tokens)), "{once:?}");
}

#[test]
fn case_73_responses_that_are_not_completed() {
    let usage = r#"{"input_tokens":20,"output_tokens":9}"#;
    let seen = responses(&[CREATED, ADDED, PART, &last("incomplete", usage)]).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    let seen = responses(&[CREATED, ADDED, PART, &last("failed", "null")]).usage();
    assert_eq!(seen.stream.outcome, Outcome::UpstreamError);
    assert_eq!(seen.accounting.output_source, Source::Computed);
}

#[test]
fn case_74_events_that_nobody_knows() {
    let odd = r#"{"type":"response.something.new","delta":"not text","x":[1,{"y":null}]}"#;
    let azure = r#"{"type":"response.content_filter.results","results":[]}"#;
    let usage = r#"{"input_tokens":20,"output_tokens":9}"#;
    let seen = responses(&[CREATED, odd, ADDED, PART, azure, odd, &last("completed", usage)]).usage();
    assert_eq!((seen.tokens.output, seen.stream.parse_errors), (Some(9), 0));
}

#[test]
fn case_75_a_response_in_the_background_has_no_number_yet() {
    let queued = r#"{"id":"resp_1","object":"response","status":"queued","background":true,"model":"gpt-4o","usage":null,"output":[]}"#;
    let request = r#"{"background":true,"model":"gpt-4o","input":"Hello"}"#.to_owned();
    let seen = Call { api: Api::Responses, request, ..Call::json(queued) }.usage();
    assert_eq!(seen.ids.response_id.as_deref(), Some("resp_1"));
    assert_eq!(seen.tokens.output, None, "null is not 0");
    // That polling is no event of its own is held by `case_75_polls_are_silent` in tests/proxy.
}

#[test]
fn case_76_what_the_service_remembers_is_its_own_to_count() {
    let usage = r#"{"input_tokens":2000,"output_tokens":9}"#;
    let request =
        r#"{"stream":true,"model":"gpt-4o","input":"Hello","previous_response_id":"resp_0"}"#.to_owned();
    let seen =
        Call { request: request.clone(), ..responses(&[CREATED, ADDED, PART, &last("completed", usage)]) }
            .usage();
    assert_eq!((seen.tokens.input, seen.accounting.input_source), (Some(2000), Source::Reported));
    let cut = Call { request, ..responses(&[CREATED, ADDED, PART]) }.usage();
    assert_ne!(cut.accounting.input_quality, Quality::Exact);
}

#[test]
fn case_78_of_assistants_only_the_last_word_of_a_run_counts() {
    let step = "event: thread.run.step.completed\ndata: {\"id\":\"step_1\",\"object\":\"thread.run.step\",\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":4}}\n\n";
    let run = "event: thread.run.completed\ndata: {\"id\":\"run_1\",\"object\":\"thread.run\",\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":9}}\n\nevent: done\ndata: [DONE]\n\n";
    let call = |treatment| Call { api: Api::Assistants, treatment, ..Call::stream([step, run].concat()) };
    let seen = call(Treatment::ReportedOnly).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    assert_eq!(seen.accounting.output_source, Source::Reported);
    // What repeats another call's usage is eventful, and has no number.
    let seen = call(Treatment::Unmetered).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (None, None));
    assert_eq!(seen.accounting.reasons, ["input:unmetered", "output:unmetered"]);
}

#[test]
fn what_is_free_costs_nothing_whatever_it_says() {
    let stored = r#"{"id":"chatcmpl-1","model":"gpt-4o","choices":[{"index":0,"message":{"content":"Hi"}}],"usage":{"prompt_tokens":20,"completion_tokens":9}}"#;
    for status in [200, 404, 500] {
        let seen = Call { treatment: Treatment::Free, status, ..Call::json(stored) }.usage();
        assert_eq!((seen.tokens.input, seen.tokens.output), (Some(0), Some(0)), "{status}");
        let (sources, qualities) = (
            (seen.accounting.input_source, seen.accounting.output_source),
            (seen.accounting.input_quality, seen.accounting.output_quality),
        );
        assert_eq!(sources, (Source::Computed, Source::Computed), "{status}");
        assert_eq!(qualities, (Quality::Exact, Quality::Exact), "{status}");
        assert_eq!(seen.accounting.reasons, ["input:not_billed", "output:not_billed"], "{status}");
    }
}

#[test]
fn a_compaction_has_a_usage_of_its_own() {
    let answer = r#"{"id":"resp_c1","object":"response.compaction","created_at":1795000000,"output":[{"type":"compaction","id":"cmp_1","encrypted_content":"AAAA"}],"usage":{"input_tokens":5000,"input_tokens_details":{"cached_tokens":4096},"output_tokens":700,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":5700}}"#;
    let request = r#"{"model":"team-r","input":"Hello"}"#.to_owned();
    let call = |answer: &str| Call {
        api: Api::Responses,
        request: request.clone(),
        treatment: Treatment::ReportedOnly,
        ..Call::json(answer)
    };
    let seen = call(answer).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(5000), Some(700)));
    assert_eq!((seen.tokens.input_cached, seen.tokens.output_reasoning), (Some(4096), Some(64)));
    assert_eq!(seen.ids.response_id.as_deref(), Some("resp_c1"));
    assert_eq!(seen.target.deployment.as_deref(), Some("team-r"));
    assert_eq!((seen.stream.outcome, seen.stream.parse_errors), (Outcome::Complete, 0));
    assert!(seen.accounting.reasons.is_empty(), "{:?}", seen.accounting.reasons);
    assert_eq!((seen.accounting.computed_input, seen.accounting.computed_output), (None, None));
    // No rule computes it.
    let silent = answer.replace("usage", "no_usage");
    let seen = call(&silent).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (None, None));
    assert_eq!(seen.accounting.reasons, ["input:no_usage", "output:no_usage"]);
}

#[test]
fn case_86_the_deployment_that_served() {
    let call = Call::stream(plain())
        .with(HeaderName::from_static("x-ms-deployment-name"), "gpt-4o-standard")
        .with(HeaderName::from_static("x-ms-spillover-from-deployment"), "gpt-4o-ptu");
    let target = call.usage().target;
    assert_eq!(target.deployment_served.as_deref(), Some("gpt-4o-standard"));
    assert_eq!(target.spillover_from.as_deref(), Some("gpt-4o-ptu"));
}

#[test]
fn case_87_the_answer_says_what_was_used() {
    let body = plain().replace("\"id\":\"c1\"", r#""id":"c1","service_tier":"priority""#);
    let request = r#"{"stream":true,"model":"model-router","service_tier":"auto","messages":[{"role":"user","content":"Hello"}]}"#;
    let target = Call { request: request.to_owned(), ..Call::stream(body) }.usage().target;
    assert_eq!(
        (target.model.as_deref(), target.model_requested.as_deref()),
        (Some(MODEL), Some("model-router"))
    );
    assert_eq!(target.service_tier.as_deref(), Some("priority"));
}
