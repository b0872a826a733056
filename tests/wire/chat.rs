//! Cases 16 to 37: what chunks of chat and completions look like.

use metering::meter::Ending;
use metering::usage::{Api, Outcome, Quality, Source};

use crate::call::{
    Call, DONE, INPUT, MODEL, REQUEST, chunk, delta, finish, hello, output_reasons, plain, text, tokens,
    usage,
};

const FILTER_FIRST: &str = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_annotations\":[],\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{}}]}\n\n";
const ANNOTATION: &str = "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_filter_results\":{},\"content_filter_offsets\":{\"check_offset\":0,\"start_offset\":0,\"end_offset\":5}}]}\n\n";

fn output(body: impl Into<Vec<u8>>) -> Option<u64> {
    Call::stream(body).usage().tokens.output
}

#[test]
fn case_16_filter_results_come_first_with_empty_names() {
    for body in [FILTER_FIRST.to_owned() + &plain(), hello() + FILTER_FIRST + &finish("stop") + DONE] {
        let seen = Call::stream(body).usage();
        assert_eq!(seen.target.model.as_deref(), Some(MODEL));
        assert_eq!((seen.ids.response_id.as_deref(), seen.tokens.output), (Some("c1"), Some(3)));
    }
}

#[test]
fn case_17_an_annotation_costs_nothing() {
    assert_eq!(output(ANNOTATION.to_owned() + &hello() + ANNOTATION + &finish("stop") + DONE), Some(3));
}

#[test]
fn case_18_annotations_behind_the_finish_and_the_usage() {
    let body = hello() + &finish("stop") + ANNOTATION + &usage(20, 9) + ANNOTATION + DONE;
    let seen = Call::stream(body).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    assert_eq!(seen.stream.finish_reasons, ["stop"]);
    assert_eq!(seen.stream.outcome, Outcome::Complete);
}

#[test]
fn case_19_the_filter_ends_a_choice() {
    let body = hello() + &finish("content_filter").replace("\"c1\"", "\"\"") + DONE;
    let seen = Call::stream(body).usage();
    assert_eq!(seen.stream.finish_reasons, ["content_filter"]);
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(3)), "both sides are charged");
    assert_eq!(output_reasons(&seen), "content_filter");
}

#[test]
fn case_20_null_until_the_last_chunk() {
    let seen = Call::stream(hello() + &finish("stop") + &usage(20, 9) + DONE).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output, seen.tokens.total), (Some(20), Some(9), Some(29)));
    assert_eq!(seen.accounting.output_source, Source::Reported);
}

#[test]
fn case_21_usage_beside_choices() {
    let last =
        finish("stop").replace("\"usage\":null", r#""usage":{"prompt_tokens":20,"completion_tokens":9}"#);
    let seen = Call::stream(hello() + &last + DONE).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
}

#[test]
fn case_22_zeros_and_running_totals() {
    let zeros = hello().replace("\"usage\":null", r#""usage":{"prompt_tokens":0,"completion_tokens":0}"#);
    let running = usage(20, 1) + &text("Hello") + &usage(20, 5) + &text(", world");
    for body in [zeros.clone() + &usage(20, 9), running + &usage(20, 9), zeros + &usage(20, 9) + &usage(0, 0)]
    {
        let seen = Call::stream(body + &finish("stop") + DONE).usage();
        assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    }
}

#[test]
fn case_23_cut_before_the_usage_that_was_asked_for() {
    let request = REQUEST.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    for (ending, outcome) in
        [(Ending::Eof, Outcome::UpstreamEof), (Ending::UpstreamError, Outcome::UpstreamError)]
    {
        let seen = Call { request: request.clone(), ending, ..Call::stream(hello()) }.usage();
        assert_eq!(
            (seen.tokens.input, seen.tokens.output, seen.stream.outcome),
            (Some(INPUT), Some(3), outcome)
        );
        assert_eq!(
            (seen.accounting.output_source, seen.accounting.output_quality),
            (Source::Computed, Quality::LowerBound)
        );
    }
}

#[test]
fn case_24_nobody_asked_for_usage() {
    let seen = Call::stream(plain()).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(tokens("Hello, world"))));
    assert_eq!((seen.accounting.output_quality, output_reasons(&seen).as_str()), (Quality::Exact, ""));
}

#[test]
fn case_25_choices_that_take_turns() {
    let choice = |index: u32, said: &str, finish: &str| {
        chunk(&format!(r#"{{"index":{index},"delta":{{"content":"{said}"}},"finish_reason":{finish}}}"#))
    };
    let body = choice(2, "Hel", "null")
        + &choice(0, "Hello", "null")
        + &choice(1, "one", "\"stop\"")
        + &choice(2, "lo", "\"length\"")
        + &choice(0, ", world", "\"stop\"");
    let seen = Call::stream(body + DONE).usage();
    assert_eq!(seen.tokens.output, Some(tokens("Hello, world") + tokens("one") + tokens("Hello")));
    assert_eq!((seen.request.choices, seen.stream.finish_reasons.len()), (Some(3), 3));
}

#[test]
fn case_26_parallel_calls_whose_arguments_are_cut_in_an_escape() {
    let call = |index: u32, function: &str| {
        delta(&format!(r#""tool_calls":[{{"index":{index},"function":{{{function}}}}}]"#))
    };
    let body = |first: &str, second: &str| {
        call(0, r#""name":"find","arguments":"""#)
            + &call(1, r#""name":"get","arguments":"""#)
            + &call(0, &format!(r#""arguments":"{first}""#))
            + &call(1, r#""arguments":"{}""#)
            + &call(0, &format!(r#""arguments":"{second}""#))
            + &finish("tool_calls")
            + DONE
    };
    // The arguments are {"a":"\n"}: cut between the backslash and the n of their own escape.
    let cut = output(body(r#"{\"a\":\"\\"#, r#"n\"}"#));
    assert_eq!(cut, output(body(r#"{\"a\":\"\\n\"}"#, "")));
    assert!(cut.unwrap() > tokens("find") + tokens("get"), "{cut:?}");
}

#[test]
fn case_27_deltas_of_other_names() {
    let legacy = delta(r#""function_call":{"name":"find","arguments":"{\"a\":"}"#)
        + &delta(r#""function_call":{"arguments":"1}"}"#)
        + &finish("function_call")
        + DONE;
    assert!(output(legacy).unwrap() >= tokens("find") + tokens("{\"a\":1}"));
    let refusal = delta(r#""refusal":"Hello""#) + &delta(r#""refusal":", world""#) + &finish("stop") + DONE;
    assert!(output(refusal).unwrap() >= tokens("Hello, world"));
    let reasoning = delta(r#""reasoning_content":"let me think""#) + &hello() + &finish("stop");
    let seen = Call::stream(reasoning.clone() + DONE).usage();
    assert_ne!(seen.accounting.output_quality, Quality::Exact, "nobody says what reasoning costs");
    let seen = Call::stream(reasoning + &usage(20, 90) + DONE).usage();
    assert_eq!(seen.tokens.output, Some(90));
}

#[test]
fn case_28_logprobs_without_bytes() {
    let body = chunk(
        r#"{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"\\xf0\\x9f","logprob":-0.1,"bytes":null}]},"finish_reason":null}"#,
    ) + &chunk(
        r#"{"index":0,"delta":{"content":"Hello"},"logprobs":{"content":[{"token":"Hello","bytes":[72,101,108,108,111]}]}}"#,
    ) + &finish("stop")
        + DONE;
    let seen = Call::stream(body).usage();
    assert_eq!((seen.stream.outcome, seen.stream.parse_errors), (Outcome::Complete, 0));
    assert!(seen.tokens.output.is_some());
}

#[test]
fn case_29_padding_costs_nothing() {
    for padding in ["", "x", "aZ3kQ9pL0"] {
        let padded = plain().replace("\"usage\":null", &format!(r#""usage":null,"obfuscation":"{padding}""#));
        assert_eq!(output(padded), Some(3));
    }
}

#[test]
fn case_30_nothing_said() {
    let nothing =
        delta(r#""content":"""#) + &delta(r#""content":null"#) + &delta(r#""role":"assistant""#) + &delta("");
    assert_eq!(output(nothing.clone() + &hello() + &nothing + &finish("stop") + DONE), Some(3));
}

#[test]
fn case_31_reasoning_is_part_of_the_output() {
    let last = r#"data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":1003,"total_tokens":1023,"completion_tokens_details":{"reasoning_tokens":1000}}}"#;
    let seen = Call::stream(hello() + &finish("stop") + last + "\n\n" + DONE).usage();
    assert_eq!((seen.tokens.output, seen.tokens.output_reasoning), (Some(1003), Some(1000)));
}

#[test]
fn case_32_rejected_predictions_are_part_of_the_output() {
    let last = r#"data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":30,"completion_tokens_details":{"accepted_prediction_tokens":5,"rejected_prediction_tokens":12}}}"#;
    let seen = Call::stream(hello() + &finish("stop") + last + "\n\n" + DONE).usage();
    let tokens = &seen.tokens;
    assert_eq!((tokens.output, tokens.output_prediction_accepted), (Some(30), Some(5)));
    assert_eq!(tokens.output_prediction_rejected, Some(12));
}

#[test]
fn case_33_details_are_kept_and_absent_is_not_zero() {
    let with = |details: &str| {
        let last = format!(
            r#"data: {{"choices":[],"usage":{{"prompt_tokens":20,"completion_tokens":9{details}}}}}"#
        );
        Call::stream(hello() + &finish("stop") + &last + "\n\n" + DONE).usage().tokens
    };
    let none = with("");
    assert_eq!((none.input_cached, none.output_audio, none.other.len()), (None, None, 0));
    let zero = with(r#","prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}"#);
    assert_eq!((zero.input_cached, zero.input_audio, zero.input_image), (Some(0), Some(0), None));
    let more = with(
        r#","prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":3,"image_tokens":2,"new_tokens":4}"#,
    );
    assert_eq!((more.input_cached, more.input_cache_write, more.input_image), (Some(7), Some(3), Some(2)));
    assert_eq!(more.other.values().copied().collect::<Vec<_>>(), [4], "{:?}", more.other);
}

#[test]
fn case_34_characters_over_deltas() {
    for (pieces, said) in [
        (vec![r"\ud83d", r"\ude00"], "😀"),
        (vec!["👨\u{200d}", "👩\u{200d}", "👧"], "👨\u{200d}👩\u{200d}👧"),
        (vec!["e", "\u{301}", "中", "文"], "e\u{301}中文"),
        (vec!["\u{fffd}", "\u{fffd}x"], "\u{fffd}\u{fffd}x"),
        (vec![r"\ud83d", "x"], "\u{fffd}x"),
    ] {
        let body = pieces.iter().map(|piece| text(piece)).collect::<String>() + &finish("stop") + DONE;
        let seen = Call::stream(body).usage();
        assert_eq!((seen.tokens.output, seen.stream.parse_errors), (Some(tokens(said)), 0), "{said}");
    }
}

#[test]
fn case_35_json_as_json_may_be() {
    let shuffled = format!(
        "data: {{ \"usage\" : null , \"choices\" : [ {{ \"finish_reason\" : null, \"delta\" : {{ \"c\\u006fntent\" : \"no\", \"content\" : \"Hello, world\" }} , \"index\" : 0 }} ] , \"model\" : \"{MODEL}\" }}\n\n"
    );
    assert_eq!(output(shuffled + &finish("stop") + DONE), Some(3), "the last of equal keys wins");
    for (number, charged) in [("100", 100), ("1e2", 100), ("-5", 3), ("99999999999999999999", 3), ("7.5", 3)]
    {
        let last =
            format!(r#"data: {{"choices":[],"usage":{{"prompt_tokens":20,"completion_tokens":{number}}}}}"#);
        let seen = Call::stream(hello() + &finish("stop") + &last + "\n\n" + DONE).usage();
        assert_eq!(seen.tokens.output, Some(charged), "{number}: an absurd number is not charged by");
    }
}

#[test]
fn case_36_completions_and_foundry() {
    let completion = |said: &str, finish: &str| {
        format!(
            r#"data: {{"id":"c","model":"gpt-3.5-turbo-instruct","choices":[{{"index":0,"text":"{said}","finish_reason":{finish}}}]}}"#
        ) + "\n\n"
    };
    let body = completion("Hello", "null") + &completion(", world", "\"stop\"") + DONE;
    let call = |request: &str| Call {
        api: Api::Completions,
        request: request.to_owned(),
        ..Call::stream(body.clone())
    };
    let plain = call(r#"{"stream":true,"prompt":"Say","model":"gpt-3.5-turbo-instruct"}"#).usage();
    assert_eq!(plain.tokens.output, Some(3));
    let echo =
        call(r#"{"stream":true,"prompt":"Hello","echo":true,"model":"gpt-3.5-turbo-instruct"}"#).usage();
    assert!(echo.tokens.output < plain.tokens.output, "the prompt is no output: {:?}", echo.tokens.output);
    let best =
        call(r#"{"stream":false,"prompt":"Say","best_of":3,"model":"gpt-3.5-turbo-instruct"}"#).usage();
    assert_ne!(best.accounting.output_quality, Quality::Exact, "hidden candidates");
    let foundry = plain_as_foundry();
    assert_eq!(output(foundry), Some(3));
}

fn plain_as_foundry() -> String {
    plain().replace("\"id\":\"c1\"", r#""id":"c1","object":"chat.completion""#)
}

#[test]
fn case_37_on_your_data() {
    let context = delta(&format!(
        r#""role":"assistant","context":{{"citations":[{{"content":"{}"}}]}}"#,
        "cited ".repeat(100)
    ));
    let request = REQUEST.replacen('{', r#"{"data_sources":[{"type":"azure_search"}],"#, 1);
    let seen = Call { request, ..Call::stream(context + &plain()) }.usage();
    assert_eq!(seen.tokens.output, Some(3), "citations are no output");
    assert_ne!(seen.accounting.input_quality, Quality::Exact, "the documents are in the prompt");
    let refused = r#"{"error":{"code":400,"message":"Extra inputs are not permitted"}}"#;
    let seen = Call { status: 400, ..Call::json(refused) }.usage();
    assert_eq!((seen.request.status, seen.request.error_type.as_deref()), (400, Some("400")));
}
