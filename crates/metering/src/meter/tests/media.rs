//! Images, sound, video, and what else is billed otherwise than by tokens.

use http::header::LOCATION;
use serde_json::{Value, json};

use super::charged::labels;
use super::*;
use crate::usage::{Api, Units};

fn call<'a>(api: Api, request: &'a str, exchange: Exchange<'a>) -> Exchange<'a> {
    Exchange { api, request, ..exchange }
}

fn document(api: Api, request: &str, body: &Value) -> Usage {
    call(api, request, Exchange::json(&body.to_string())).run()
}

/// The same in any pieces.
fn stream(request: &str, body: &str) -> Usage {
    let run = |piece_bytes, budget_bytes| {
        let exchange = call(Api::Images, request, Exchange::stream(body));
        Exchange { piece_bytes, budget_bytes, ..exchange }.run()
    };
    let whole = run(usize::MAX, usize::MAX);
    for (piece_bytes, budget_bytes) in [(1, usize::MAX), (7, 3), (1_000, 100)] {
        assert_eq!(run(piece_bytes, budget_bytes), whole);
    }
    whole
}

fn cost(input: u64, output: u64) -> Value {
    json!({"input_tokens": input, "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
        "output_tokens": output, "output_tokens_details": {"image_tokens": output}, "total_tokens": input + output})
}

fn event(kind: &str, more: Value) -> String {
    let mut data = json!({"type": kind, "b64_json": "iVBO".repeat(100)});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("event: {kind}\ndata: {data}\n\n")
}

fn partial() -> String {
    event("image_generation.partial_image", json!({"partial_image_index": 0, "size": "512x512"}))
}

fn completed(input: u64, output: u64) -> String {
    let more = json!({"usage": cost(input, output), "size": "1024x1024", "quality": "high"});
    event("image_generation.completed", more)
}

const ONE: &str = r#"{"model":"img","prompt":"a hat","stream":true}"#;
const TWO: &str = r#"{"model":"img","prompt":"a hat","stream":true,"n":2}"#;

#[test]
fn the_images_of_a_document_are_the_entries_of_its_data() {
    let entries = |count: usize| vec![json!({"b64_json": "iVBO".repeat(2_000)}); count];
    for count in [0, 1, 10] {
        let body = json!({"created": 1, "data": entries(count), "usage": cost(350, 4200)});
        let event = document(Api::Images, "{}", &body);
        assert_eq!(event.units, Units { images: Some(count as u64), ..Units::default() });
        assert_eq!((event.tokens.input, event.tokens.output_image), (Some(350), Some(4200)));
        assert_eq!(labels(&event), (Quality::Exact, Quality::Exact, vec![]));
    }
    let bare = document(Api::Images, "{}", &json!({"data": [{"url": "https://img.example/x"}]}));
    assert_eq!((bare.units.images, bare.tokens.input), (Some(1), None));
    assert_eq!(labels(&bare).2, ["input:no_usage", "output:no_usage"]);
    let none = document(Api::Images, "{}", &json!({"id": "operation", "status": "notRunning"}));
    assert_eq!(none.units, Units::default());
    let embedded =
        document(Api::Embeddings, "{}", &json!({"data": entries(2), "usage": {"prompt_tokens": 3}}));
    assert_eq!(embedded.units, Units::default(), "entries of another list are no images");
}

#[test]
fn images_that_were_not_made_are_not_counted() {
    let body = json!({"data": [{"url": "x"}], "error": {"code": "c"}}).to_string();
    for (status, body) in [(429, body.as_str()), (400, &body), (500, &body), (200, &body), (200, &body[..20])]
    {
        let event = call(Api::Images, "{}", Exchange { status, ..Exchange::json(body) }).run();
        assert_eq!(event.units, Units::default(), "{status} {body}");
    }
}

#[test]
fn a_stream_of_one_image_ends_with_it() {
    let body = partial() + &completed(27, 4200);
    let event = stream(ONE, &body);
    assert_eq!(
        (event.tokens.input, event.tokens.output, event.units.images),
        (Some(27), Some(4200), Some(1))
    );
    assert_eq!((event.stream.outcome, event.stream.done_seen), (Outcome::Complete, true));
    assert_eq!(labels(&event), (Quality::Exact, Quality::Exact, vec![]));
    assert_eq!(
        (event.request.size.as_deref(), event.request.quality.as_deref()),
        (Some("1024x1024"), Some("high"))
    );
    let broken =
        Exchange { ending: Ending::UpstreamError, ..call(Api::Images, ONE, Exchange::stream(&body)) };
    assert_eq!(broken.run().stream.outcome, Outcome::Complete, "all that was asked for has come");
    let cut = stream(ONE, &partial());
    assert_eq!((cut.stream.outcome, cut.units.images), (Outcome::UpstreamEof, None));
}

#[test]
fn usages_of_several_images_are_added_up_and_not_exact() {
    let several = vec!["input:several_usages", "output:several_usages"];
    for request in [ONE, TWO] {
        let body = [partial(), completed(27, 4200), partial(), completed(27, 1000)].concat();
        let event = stream(request, &body);
        let tokens = &event.tokens;
        assert_eq!((tokens.input, tokens.output, tokens.total), (Some(54), Some(5200), Some(5254)));
        assert_eq!((tokens.input_text, tokens.output_image), (Some(54), Some(5200)));
        assert_eq!(event.accounting.reported_output, Some(5200));
        assert_eq!(labels(&event), (Quality::Estimated, Quality::Estimated, several.clone()));
        assert_eq!((event.units.images, event.stream.outcome), (Some(2), Outcome::Complete));
        assert!(event.stream.done_seen);
    }
    // One of them says it for all.
    let silent = event("image_generation.completed", json!({}));
    for body in [completed(27, 4200) + &silent, silent + &completed(27, 4200)] {
        let event = stream(TWO, &body);
        assert_eq!((event.tokens.output, event.units.images), (Some(4200), Some(2)));
        assert_eq!(labels(&event), (Quality::Exact, Quality::Exact, vec![]));
    }
}

#[test]
fn a_stream_of_several_images_that_is_cut_has_those_that_came() {
    let body = completed(27, 4200) + &partial();
    for ending in [Ending::UpstreamError, Ending::ClientDisconnect] {
        let event = Exchange { ending, ..call(Api::Images, TWO, Exchange::stream(&body)) }.run();
        assert_eq!((event.tokens.output, event.units.images), (Some(4200), Some(1)));
        assert_eq!(event.accounting.output_quality, Quality::LowerBound);
        assert_ne!(event.stream.outcome, Outcome::Complete);
    }
    // A service may make fewer than were asked for.
    let fewer = stream(TWO, &completed(27, 4200));
    assert_eq!((fewer.stream.outcome, fewer.units.images), (Outcome::Complete, Some(1)));
    assert_eq!(labels(&fewer), (Quality::Exact, Quality::Exact, vec![]));
}

/// Each event is longer than any that is held.
#[test]
fn long_images_are_read_as_short_ones_are() {
    let long = |output: u64| completed(27, output).replace("iVBO", &"iVBO".repeat(20_000));
    let event = call(Api::Images, TWO, Exchange::stream(&(long(4200) + &long(1000)))).run();
    assert_eq!((event.tokens.output, event.units.images), (Some(5200), Some(2)));
    assert_eq!(event.stream.parse_errors, 0);
}

#[test]
fn what_images_used_beside_their_usage_is_added_up_too() {
    let svg = |output: u64| json!({"usage": cost(1, 2), "svg_usage": {"model": "m", "input_tokens": 7, "output_tokens": output}});
    let body = [40, 2].map(|output| event("image_edit.completed", svg(output))).concat();
    let event = stream(TWO, &body);
    assert_eq!(event.tools.len(), 1);
    assert_eq!((event.tools[0].input, event.tools[0].output), (Some(14), Some(42)));
}

#[test]
fn size_and_quality_are_those_of_the_answer_or_else_of_the_request() {
    let size = |api, request: &str, body: Value| {
        let event = document(api, request, &body);
        (event.request.size.map(String::from), event.request.quality.map(String::from))
    };
    let some = |text: &str| Some(text.to_owned());
    let asked = r#"{"size":"auto","quality":"hd"}"#;
    assert_eq!(size(Api::Images, asked, json!({"size": "1024x1024"})), (some("1024x1024"), some("hd")));
    assert_eq!(
        size(Api::Video, asked, json!({"size": "1280x720", "seconds": "8"})),
        (some("1280x720"), some("hd"))
    );
    assert_eq!(
        size(Api::Images, asked, json!({"size": "x".repeat(33), "quality": "a\tb"})),
        (some("auto"), some("hd"))
    );
    assert_eq!(size(Api::Other, asked, json!({"size": "1024x1024"})), (None, None));
    assert_eq!(size(Api::Images, r#"{"size":"é"}"#, json!({})), (None, None));
}

#[test]
fn speech_has_the_characters_of_its_request_whatever_the_answer() {
    let request = r#"{"model":"tts","input":"Gr\u00fcn, bitte."}"#;
    let sound = Exchange { headers: headers("audio/mpeg"), ..Exchange::json("\u{1}\u{2}") };
    let event = call(Api::Audio, request, sound).run();
    assert_eq!(event.units, Units { characters: Some(12), ..Units::default() });
    assert_eq!((event.tokens.input, event.target.deployment.as_deref()), (None, Some("tts")));
    assert_eq!(labels(&event).2, ["input:no_usage", "output:no_usage"]);
    let done = r#"data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#;
    let event = call(Api::Audio, request, Exchange::stream(&format!("{done}\n\n"))).run();
    assert_eq!((event.tokens.output, event.units.characters), (Some(101), Some(12)));
    let refused = call(Api::Audio, request, Exchange { status: 429, ..Exchange::json("{}") }).run();
    assert_eq!((refused.tokens.input, refused.units), (Some(0), Units::default()), "it is not billed");
    let other = call(Api::Responses, request, Exchange::json("{}")).run();
    assert_eq!(other.units, Units::default());
}

#[test]
fn a_crash_keeps_the_characters_that_were_sent() {
    let mut meter = Meter::new(draft(Api::Audio), FREE);
    meter.request_bytes(br#"{"input":"Teal."}"#);
    meter.request_end();
    assert_eq!(meter.progress().0.units.characters, Some(5));
}

#[test]
fn the_length_of_what_was_heard_stands_where_no_usage_does() {
    let heard = |body: Value| document(Api::Audio, "{}", &body).units.audio_ms;
    assert_eq!(heard(json!({"duration": 8.470_000_267, "text": "teal"})), Some(8_470));
    assert_eq!(heard(json!({"duration": 8.47, "usage": {"type": "duration", "seconds": 9}})), Some(9_000));
    assert_eq!(
        heard(json!({"duration": 8.47, "usage": {"type": "tokens", "input_tokens": 4, "output_tokens": 5}})),
        None
    );
    assert_eq!(document(Api::Other, "{}", &json!({"duration": 8.47})).units, Units::default());
    let cut = Exchange { ending: Ending::UpstreamError, ..Exchange::json(r#"{"duration":8.47,"text":"te"#) };
    assert_eq!(call(Api::Audio, "{}", cut).run().units, Units::default());
}

#[test]
fn what_is_told_in_units_is_told() {
    for (api, body, units) in [
        (
            Api::Ocr,
            json!({"usage_info": {"pages_processed": 2}}),
            Units { pages: Some(2), ..Units::default() },
        ),
        (
            Api::Ocr,
            json!({"meta": {"billed_units": {"pages": 3}}}),
            Units { pages: Some(3), ..Units::default() },
        ),
        (
            Api::Rerank,
            json!({"meta": {"billed_units": {"search_units": 2}}}),
            Units { search_units: Some(2), ..Units::default() },
        ),
        (
            Api::Other,
            json!({"usage": {"type": "duration", "seconds": 2}}),
            Units { audio_ms: Some(2_000), ..Units::default() },
        ),
    ] {
        let event = document(api, r#"{"model":"d"}"#, &body);
        assert_eq!((event.tokens.input, event.tokens.output, event.units), (None, None, units), "{body}");
        assert_eq!(labels(&event), (Quality::Unknown, Quality::Unknown, vec![]), "{body}");
    }
    let silent = document(Api::Rerank, "{}", &json!({"results": []}));
    assert_eq!(labels(&silent).2, ["input:no_usage", "output:no_usage"]);
    let embedded = document(Api::Embeddings, "{}", &json!({"meta": {"billed_units": {"input_tokens": 3}}}));
    assert_eq!((embedded.tokens.input, embedded.tokens.output), (Some(3), Some(0)));
    // Beside something that is billed a zero is a word.
    let shown = json!({"meta": {"billed_units": {"input_tokens": 0, "images": 3}}});
    let shown = document(Api::Embeddings, "{}", &shown);
    assert_eq!((shown.tokens.input, shown.units.images), (Some(0), Some(3)));
    assert_eq!(labels(&shown), (Quality::Exact, Quality::Exact, vec![]));
}

#[test]
fn a_session_that_goes_elsewhere_is_named_and_has_no_numbers() {
    let run = |status: u16, treatment| {
        let mut meter = Meter::new(draft(Api::Realtime), FREE).treated(treatment);
        meter.request_bytes(b"v=0\r\n");
        meter.request_end();
        let mut head = headers("application/sdp");
        head.insert(LOCATION, HeaderValue::from_static("/openai/v1/realtime/calls/rtc_9"));
        meter.response_head(StatusCode::from_u16(status).unwrap(), &head);
        meter.response_bytes(b"v=0\r\n", usize::MAX);
        meter.settle(Ending::Eof)
    };
    let event = run(201, Treatment::Elsewhere);
    assert_eq!((event.tokens.input, event.ids.session_id.as_deref()), (None, Some("rtc_9")));
    assert_eq!(labels(&event).2, ["input:usage_elsewhere", "output:usage_elsewhere"]);
    assert_eq!(event.stream.outcome, Outcome::Complete);
    assert_eq!(run(401, Treatment::Elsewhere).tokens.input, Some(0), "it was not opened");
    assert_eq!(run(201, Treatment::ReportedOnly).ids.session_id, None);
}

#[test]
fn a_model_may_be_named_by_the_path_alone() {
    let run = |request: &str| {
        let mut usage = draft(Api::Images);
        usage.target.model_requested = Some("flux-2-pro".into());
        let mut meter = Meter::new(usage, FREE);
        meter.request_bytes(request.as_bytes());
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers("application/json"));
        let target = meter.settle(Ending::Eof).target;
        (target.deployment.unwrap(), target.model_requested.unwrap())
    };
    assert_eq!(run(r#"{"prompt":"a hat"}"#), ("flux-2-pro".into(), "flux-2-pro".into()));
    assert_eq!(run(r#"{"model":"team","prompt":"a hat"}"#), ("team".into(), "team".into()));
}

/// Documents and streams of a few shapes: the sums of images and tokens are those of a plain addition.
fn some_images() -> impl Strategy<Value = Vec<Option<(u64, u64)>>> {
    prop::collection::vec(prop::option::of((0_u64..500, 0_u64..5_000)), 1..6)
}

proptest! {
    #[test]
    fn any_stream_of_images_adds_up(images in some_images(), n in prop::option::of(0_u64..7), piece_bytes in 1_usize..300) {
        let request = n.map_or(ONE.to_owned(), |n| ONE.replace('}', &format!(r#","n":{n}}}"#)));
        let body: String = images.iter().map(|image| match image {
            Some((input, output)) => partial() + &completed(*input, *output),
            None => event("image_generation.completed", json!({"usage": null})),
        }).collect();
        let exchange = call(Api::Images, &request, Exchange::stream(&body));
        let event = Exchange { piece_bytes, ..exchange }.run();
        let usages: Vec<_> = images.iter().flatten().filter(|(input, output)| input + output > 0).collect();
        let sum = |number: fn(&(u64, u64)) -> u64| usages.iter().map(|usage| number(usage)).sum::<u64>();
        if !usages.is_empty() {
            prop_assert_eq!(event.tokens.input, Some(sum(|usage| usage.0)));
            prop_assert_eq!(event.tokens.output, Some(sum(|usage| usage.1)));
        }
        prop_assert_eq!(event.accounting.reasons.iter().any(|reason| reason.ends_with("several_usages")), usages.len() > 1);
        prop_assert_eq!(event.units.images, Some(images.len() as u64));
        prop_assert_eq!(event.stream.outcome, Outcome::Complete);
    }
}
