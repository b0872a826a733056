//! Cases of what the service is known to send, by their numbers in the list of wire facts.

use super::*;
use crate::tokens::{Encoding, count};

fn n(text: &str) -> u64 {
    count(Encoding::O200kBase, text)
}

fn delta(delta: &str) -> String {
    event(&format!(r#"{{"index":0,"delta":{delta},"finish_reason":null}}"#))
}

fn ended(events: &[String]) -> Usage {
    Exchange::stream(&(events.concat() + &finish(0, "stop") + DONE)).run()
}

#[test]
fn case_27_older_calls_refusals_and_visible_reasoning_have_each_their_place() {
    let call = [
        delta(r#"{"function_call":{"name":"find","arguments":""}}"#),
        delta(r#"{"function_call":{"arguments":"{\"a\":1}"}}"#),
    ];
    let tokens = ended(&call).tokens;
    assert_eq!(tokens.output, Some(n(" to=functions.find") + n("{\"a\":1}") + 4));
    let refusal = ended(&[delta(r#"{"refusal":"I can"}"#), delta(r#"{"refusal":"not"}"#)]).tokens;
    assert_eq!((refusal.output, refusal.output_reasoning), (Some(n("I cannot") + 1), None));
    let reasoned = ended(&[delta(r#"{"reasoning_content":"Let me think"}"#), content(0, "Hello")]);
    assert_eq!(reasoned.tokens.output_reasoning, Some(n("Let me think")));
    assert_ne!(reasoned.accounting.output_quality, Quality::Exact, "{:?}", reasoned.accounting);
}

#[test]
fn case_28_tokens_are_the_entries_of_logprobs_where_they_cover_the_text() {
    let with = |text: &str, entries: &str| {
        let choice =
            format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"logprobs":{{"content":[{entries}]}}}}"#);
        ended(&[event(&choice)]).tokens.output
    };
    assert_eq!(
        with("Hi", r#"{"token":"H","bytes":[72]},{"token":"i","bytes":[105]}"#),
        Some(2),
        "not the shortest"
    );
    // An entry that does not say its bytes proves nothing: the text is counted.
    assert_eq!(with("Hi", r#"{"token":"H","bytes":null},{"token":"i","bytes":null},{}"#), Some(n("Hi")));
    assert_eq!(with("", r#"{"token":"x","bytes":[240,159]}"#), Some(0));
}

#[test]
fn case_29_padding_is_not_counted() {
    let padded = |padding: &str| {
        content(0, "Hello").replace("\"usage\":null", &format!("\"obfuscation\":\"{padding}\""))
    };
    for padding in ["", "a", "abcdef0123456789", "\\u0041"] {
        assert_eq!(ended(&[padded(padding), padded("x")]).tokens.output, Some(n("HelloHello")), "{padding}");
    }
}

#[test]
fn case_30_nothing_said_costs_nothing() {
    let nothing = [
        delta(r#"{"content":""}"#),
        delta(r#"{"content":null}"#),
        delta(r#"{"role":"assistant"}"#),
        delta("{}"),
        event(r#"{"index":0}"#),
        event(""),
    ];
    let silent = ended(&nothing);
    assert_eq!((silent.tokens.output, silent.stream.parse_errors), (Some(0), 0));
    let around =
        [nothing.concat(), content(0, "Hello"), nothing.concat(), content(0, ", world"), nothing.concat()];
    assert_eq!(ended(&around).tokens.output, Some(3));
}

fn reported(details: &str) -> Usage {
    let usage = format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":20,\"completion_tokens\":900,\"total_tokens\":920{details}}}}}\n\n"
    );
    Exchange::stream(&[&content(0, "Hello"), &finish(0, "stop"), &usage, DONE].concat()).run()
}

#[test]
fn case_31_hidden_reasoning_is_within_the_output() {
    let tokens = reported(",\"completion_tokens_details\":{\"reasoning_tokens\":896}").tokens;
    assert_eq!((tokens.output, tokens.output_reasoning, tokens.total), (Some(900), Some(896), Some(920)));
}

#[test]
fn case_32_rejected_predictions_are_within_the_output() {
    let details = "{\"accepted_prediction_tokens\":5,\"rejected_prediction_tokens\":300}";
    let tokens = reported(&format!(",\"completion_tokens_details\":{details}")).tokens;
    let predicted = (tokens.output_prediction_accepted, tokens.output_prediction_rejected);
    assert_eq!((tokens.output, predicted), (Some(900), (Some(5), Some(300))));
}

#[test]
fn case_33_details_are_kept_and_none_is_not_zero() {
    let details = ",\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":4,\"new_tokens\":2},\"completion_tokens_details\":null";
    let tokens = reported(details).tokens;
    assert_eq!((tokens.input_cached, tokens.input_audio, tokens.input_image), (Some(0), Some(4), None));
    assert_eq!((tokens.output_reasoning, tokens.other.values().sum::<u64>()), (None, 2));
    assert_eq!(reported("").tokens.input_cached, None);
}

#[test]
fn case_34_characters_that_are_cut_between_deltas_are_counted_joined() {
    let cut = [content(0, "x\\ud83d"), content(0, "\\ude00"), content(0, "e"), content(0, "\\u0301堰")];
    let usage = ended(&cut);
    assert_eq!((usage.tokens.output, usage.stream.parse_errors), (Some(n("x😀e\u{301}堰")), 0));
    let lone = ended(&[content(0, "\\ud83d"), content(0, "a")]);
    assert_eq!(lone.tokens.output, Some(n("\u{FFFD}a")));
    let family = ["👩", "\u{200d}", "👩", "\u{200d}", "👧"];
    assert_eq!(ended(&family.map(|part| content(0, part))).tokens.output, Some(n(&family.concat())));
}

#[test]
fn case_35_any_way_of_writing_the_same_json() {
    let plain = content(0, "Hello") + &content(0, ", world");
    for written in [
        plain.clone(),
        plain.replace("\"choices\"", "\"\\u0063hoices\"").replace("\"content\"", "\"\\u0063ontent\""),
        plain.replace(":[{", " : [ { ").replace(',', " , "),
        plain.replace("{\"content\"", "{\"content\":\"other\",\"content\""),
    ] {
        let tokens = ended(std::slice::from_ref(&written)).tokens.output;
        // The comma of the text is among those that were put apart.
        let expected = if written.contains(" ,  world") { n("Hello ,  world") } else { 3 };
        assert_eq!(tokens, Some(expected), "{written}");
    }
    let numbers = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2e1,\"completion_tokens\":9.0}}\n\n";
    let usage = ended(&[content(0, "Hello"), finish(0, "stop"), numbers.to_owned()]);
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(20), Some(9)));
}

#[test]
fn case_71_audio_and_images_have_no_tokens_but_those_that_are_said() {
    let whole = |api, content_type, body: &'static str| {
        let usage =
            Exchange { api, headers: headers(content_type), request: "", ..Exchange::json(body) }.run();
        (usage.tokens.input, usage.tokens.output)
    };
    let timed = r#"{"text":"a","usage":{"type":"duration","seconds":12}}"#;
    assert_eq!(whole(Api::Audio, "application/json", timed), (None, None), "seconds are no tokens");
    let counted =
        r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#;
    assert_eq!(whole(Api::Audio, "application/json", counted), (Some(14), Some(45)));
    assert_eq!(whole(Api::Audio, "text/plain", "a transcript"), (None, None));
    assert_eq!(whole(Api::Audio, "audio/mpeg", "\u{1}\u{2}"), (None, None));
    let image = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"input_tokens\":5,\"output_tokens\":1056,\"total_tokens\":1061}}\n\n";
    assert_eq!(whole(Api::Images, "text/event-stream", image), (Some(5), Some(1056)));
}
