//! Answers that are too large, too many, too deep, or not what they say.

use metering::usage::{Api, Outcome, Quality, Source, Usage};
use serde_json::json;

use super::drive;
use super::rig::Case;
use super::support::codings::{gzip, zstd};
use super::support::turn::alone;

/// Text that is slow to count: many pieces, rare words, no two alike.
pub(crate) fn words(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let letters: String =
            (0..state % 9 + 1).map(|n| char::from(b'a' + (state >> (n * 5) & 15) as u8)).collect();
        text.push_str(&letters);
        text.push(if state.is_multiple_of(7) { '_' } else { ' ' });
    }
    text
}

fn event(value: &serde_json::Value) -> String {
    format!("data: {value}\n\n")
}

fn delta(text: &str) -> String {
    event(&json!({"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn usage(input: u64, output: u64) -> String {
    event(
        &json!({"id": "x", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": input, "completion_tokens": output}}),
    )
}

fn stop() -> String {
    event(
        &json!({"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    )
}

const DONE: &str = "data: [DONE]\n\n";

/// A stream of one choice that ends as it should.
fn whole(middle: &str) -> String {
    [&delta("Hello"), middle, &stop(), DONE].concat()
}

fn reports(usage: &Usage, input: u64, output: u64) {
    assert_eq!(
        (usage.tokens.input, usage.tokens.output),
        (Some(input), Some(output)),
        "{:?}",
        usage.accounting
    );
    assert_eq!(usage.accounting.output_source, Source::Reported);
}

/// The output is not known, and the reason is said.
fn unknown(usage: &Usage, reason: &str) {
    let accounting = &usage.accounting;
    assert_eq!(usage.tokens.output, None, "{accounting:?}");
    assert_eq!((accounting.output_source, accounting.output_quality), (Source::Unknown, Quality::Unknown));
    let reason = format!("output:{reason}");
    assert!(
        accounting.reasons.iter().any(|known| *known == reason),
        "{reason} is not among {:?}",
        accounting.reasons
    );
}

#[test]
fn case_11_an_event_of_32_mib_is_skimmed_and_usage_is_found_later() {
    let _alone = alone();
    let image = format!("data: {{\"b64\":\"{}\"}}\n\n", "A".repeat(32 << 20));
    for frame_bytes in [64 << 10, 5_000] {
        let answer = [&delta("Hello"), &image, &stop(), &usage(9, 1), DONE].concat();
        let outcome = drive(
            &Case::stream("case 11: an event of 32 MiB", answer).in_frames_of(frame_bytes).within(16 << 20),
        );
        reports(&outcome.usage, 9, 1);
        // It is read as it passes, so nothing is wrong with it.
        assert_eq!((outcome.usage.stream.outcome, outcome.usage.stream.parse_errors), (Outcome::Complete, 0));
    }
    let outcome = drive(&Case::stream("case 11: and no usage", whole(&image)).within(16 << 20));
    unknown(&outcome.usage, "too_long");
}

/// Faster than anybody counts: the network thread skims, whatever it is.
#[test]
fn what_outruns_the_pool() {
    let _alone = alone();
    let escaped = r#"{"\u0061":"\n\"","b\\":[1,"x"],"\u0063":{"d":null}},"#.repeat(200_000);
    let keys = r#""a":1,"usage":{"b":2},"id":"x","#.repeat(300_000);
    for (name, middle) in [
        ("unpaced: small deltas", delta(" weir").repeat(150_000)),
        ("unpaced: a million empty events", "data:\n\n".repeat(1 << 20)),
        ("unpaced: a million empty documents", "data: {}\n\n".repeat(1 << 20)),
        ("unpaced: a million events that are no JSON", "data: {x\n\n".repeat(1 << 20)),
        ("unpaced: ten million blank lines", "\n".repeat(10_000_000)),
        ("unpaced: a million data lines", "data: \"\n".repeat(1 << 20) + "\n"),
        ("unpaced: 10 MB of escapes", format!("data: {{\"choices\":[{escaped}{{}}]}}\n\n")),
        ("unpaced: 9 MB of members", format!("data: {{{keys}\"z\":1}}\n\n")),
        (
            "unpaced: 10 MB of [",
            format!("data: {{\"usage\":{}1{}}}\n\n", "[".repeat(5 << 20), "]".repeat(5 << 20)),
        ),
        ("unpaced: 20 MB of text", delta(&words(20 << 20))),
    ] {
        let answer = [&delta("Hello"), &*middle, &stop(), &usage(9, 1), DONE].concat();
        for (coding, coded) in [("", answer.clone().into_bytes()), ("gzip", gzip(answer.as_bytes()))] {
            let outcome = drive(&Case::stream(name, coded).coded(coding).unpaced().within(16 << 20));
            // What shrinks to nothing is a bomb.
            if !outcome.usage.accounting.reasons.contains(&"output:encoding".into()) || coding.is_empty() {
                reports(&outcome.usage, 9, 1);
                assert_eq!(outcome.usage.stream.outcome, Outcome::Complete, "{name} {coding}");
            }
        }
    }
    let json = format!(
        r#"{{"choices":[{{"message":{{"content":"{}"}}}}],"usage":{{"prompt_tokens":9,"completion_tokens":1}}}}"#,
        words(20 << 20)
    );
    reports(&drive(&Case::json("unpaced: 20 MB of JSON", json).unpaced().within(16 << 20)).usage, 9, 1);
}

/// It is read at once when it ends: not on the network thread, however it comes.
#[test]
fn an_event_just_short_enough_to_be_kept() {
    let _alone = alone();
    let long = delta(&words(4_000_000));
    for frame_bytes in [64 << 10, 5_000] {
        let case = Case::stream("an event of 4 MB, read at its end", whole(&long)).in_frames_of(frame_bytes);
        let outcome = drive(&case.within(16 << 20));
        assert!(outcome.usage.tokens.output.unwrap() > 500_000);
    }
    // The same without its end: the call's end reads it.
    let cut = &long[..long.len() - 2];
    drive(&Case::stream("an event of 4 MB that does not end", cut).in_frames_of(5_000).within(16 << 20));
}

#[test]
fn a_stream_of_what_means_nothing() {
    let _alone = alone();
    for (name, nothing) in [
        ("20 MB of comments", ": keep-alive\n\n".repeat(1 << 20)),
        ("a comment of 20 MB", format!(": {}\n\n", "x".repeat(20 << 20))),
        ("a million empty events", "data:\n\n".repeat(1 << 20)),
        ("a million events with a name and no data", "event: ping\n\n".repeat(1 << 20)),
        ("ten million blank lines", "\n".repeat(10_000_000)),
        ("ten million CRs", "\r".repeat(10_000_000)),
        ("a million data lines of one event", "data: x\n".repeat(1 << 20)),
        ("a million unknown fields", "id: 1\nretry: 5\n".repeat(1 << 20)),
    ] {
        let answer = [&delta("Hello"), nothing.as_str(), "\n\n", &stop(), &usage(9, 1), DONE].concat();
        let outcome = drive(&Case::stream(name, answer));
        reports(&outcome.usage, 9, 1);
        assert_eq!(outcome.usage.stream.outcome, Outcome::Complete, "{name}");
    }
}

#[test]
fn deep_json() {
    let _alone = alone();
    for (name, open, close) in [("10 MB of [", "[", "]"), ("10 MB of {\"a\":", "{\"a\":", "}")] {
        let times = (3 << 20) / open.len();
        let deep = format!("{{\"choices\":{}1{},\"model\":\"m\"}}", open.repeat(times), close.repeat(times));
        let answer = [&delta("Hello"), &format!("data: {deep}\n\n"), &stop(), &usage(9, 1), DONE].concat();
        reports(&drive(&Case::stream(name, answer).within(16 << 20)).usage, 9, 1);
        let outcome = drive(&Case::json(name, deep).within(16 << 20));
        let (tokens, accounting) = (&outcome.usage.tokens, &outcome.usage.accounting);
        assert_eq!((tokens.output, accounting.output_source), (None, Source::Unknown), "{accounting:?}");
    }
    // Just as deep as is read, again and again.
    let deep = format!(
        "data: {{\"choices\":[{{\"delta\":{}}}]}}\n\n",
        "{\"a\":".repeat(120) + "1" + &"}".repeat(120)
    );
    let outcome =
        drive(&Case::stream("10 MB of nested deltas", whole(&deep.repeat((10 << 20) / deep.len()))));
    assert_eq!(outcome.usage.stream.outcome, Outcome::Complete);
}

#[test]
fn case_25_as_many_choices_as_anybody_can_send() {
    let _alone = alone();
    let choice = |index: u64, text: &str| json!({"index": index, "delta": {"content": text}});
    // Interleaved, each with its own text: every choice is counted for itself.
    let within: String = (0..12_800)
        .map(|n| event(&json!({"id": "x", "model": "gpt-4o", "choices": [choice(n % 128, " one")]})))
        .collect();
    let ends: String = (0..128)
        .map(|n| {
            event(
                &json!({"model": "gpt-4o", "choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]}),
            )
        })
        .collect();
    let outcome = drive(&Case::stream("case 25: 128 choices, interleaved", [&within, &ends, DONE].concat()));
    assert_eq!(outcome.usage.request.choices, Some(128));
    assert_eq!(outcome.usage.tokens.output, Some(128 * 101), "a hundred words and the end of each turn");
    // More than the API allows: what is not counted is said.
    let many: Vec<_> = (0..50_000).map(|n| choice(n, "word")).collect();
    let once = event(&json!({"id": "x", "model": "gpt-4o", "choices": many}));
    let outcome =
        drive(&Case::stream("50,000 choices in one event", [&once, &stop(), DONE].concat()).within(16 << 20));
    assert!(outcome.usage.accounting.reasons.contains(&"output:too_many_choices".into()));
    assert_ne!(outcome.usage.accounting.output_quality, Quality::Exact);
    let each: String = many.chunks(1).map(|one| event(&json!({"model": "gpt-4o", "choices": one}))).collect();
    let outcome = drive(&Case::stream("50,000 choices, one a time", [&each, &stop(), DONE].concat()));
    assert_ne!(outcome.usage.accounting.output_quality, Quality::Exact);
}

#[test]
fn thousands_of_tool_calls() {
    let _alone = alone();
    let call = |index: usize, arguments: &str| json!({"index": index, "id": "c", "function": {"name": "lookup", "arguments": arguments}});
    let chunk = |choice: usize, calls: Vec<serde_json::Value>| {
        event(&json!({"model": "gpt-4o", "choices": [{"index": choice, "delta": {"tool_calls": calls}}]}))
    };
    let many = chunk(0, (0..20_000).map(|n| call(n, "{}")).collect());
    let outcome = drive(
        &Case::stream("20,000 tool calls in one event", [&many, &stop(), DONE].concat()).within(16 << 20),
    );
    assert_ne!(outcome.usage.accounting.output_quality, Quality::Exact);
    // All choices call all tools: what is held of them together is bounded.
    let all: String =
        (0..128).map(|choice| chunk(choice, (0..128).map(|n| call(n, "{\"a\":\"b\"}")).collect())).collect();
    let outcome =
        drive(&Case::stream("128 choices with 128 tool calls each", [&all, &stop(), DONE].concat()));
    assert_ne!(outcome.usage.accounting.output_quality, Quality::Exact);
    // Two calls whose arguments are long are counted as one text, when the call ends.
    let long = serde_json::to_string(&words(120 << 10)).unwrap();
    let two = [chunk(0, vec![call(0, &long), call(1, &long)]), stop(), DONE.to_owned()].concat();
    let outcome = drive(&Case::stream("two tool calls with 120 KiB each", two));
    assert!(outcome.usage.tokens.output.unwrap() > 20_000);
}

#[test]
fn a_model_that_is_never_named() {
    let _alone = alone();
    let text = words(4 << 10);
    let unnamed = |n: u64| {
        event(&json!({"choices": [{"index": n % 128, "delta": {"content": text, "refusal": text}}]}))
    };
    let answer: String = (0..2_000).map(unnamed).collect();
    let outcome = drive(&Case::stream("16 MB of text of no model", [&answer, DONE].concat()).within(4 << 20));
    assert_ne!(outcome.usage.accounting.output_quality, Quality::Exact);
    let part = |n: u64| json!({"type": "response.output_text.delta", "item_id": "m", "output_index": n % 200, "content_index": 0, "delta": text});
    let answer: String = (0..4_000).map(|n| event(&part(n))).collect();
    drive(
        &Case::stream("16 MB of items of no model", [&answer, DONE].concat())
            .of(Api::Responses)
            .within(4 << 20),
    );
}

#[test]
fn names_beyond_reason() {
    let _alone = alone();
    let long = "x".repeat(900_000); // all four in one event that is short enough to be read
    let chunk = json!({"id": long, "model": long, "service_tier": long, "choices": [{"index": u64::MAX, "delta": {"content": "a"}, "finish_reason": long}]});
    let outcome =
        drive(&Case::stream("ids, model and finish_reason of 900 KB", [&event(&chunk), DONE].concat()));
    let written = serde_json::to_string(&outcome.usage).unwrap();
    assert!(written.len() < 4_096, "{} bytes of event", written.len());
    assert_eq!(outcome.usage.stream.finish_reasons, ["other"]);
    // Each chunk another finish reason, and another id.
    let many: String = (0..20_000)
        .map(|n| event(&json!({"id": format!("id{n}"), "model": format!("m{n}"), "choices": [{"index": n % 128, "delta": {"content": "a"}, "finish_reason": format!("reason_{n}")}]})))
        .collect();
    let outcome = drive(&Case::stream("20,000 ids, models and finish reasons", [&many, DONE].concat()));
    assert!(serde_json::to_string(&outcome.usage).unwrap().len() < 4_096);
}

#[test]
fn numbers_beyond_reason() {
    let _alone = alone();
    for number in
        ["-1", "1e300", "18446744073709551615", "99999999999999999999999", "1.5", "\"7\"", "[]", "null"]
    {
        let usage = format!(
            "data: {{\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{{\"prompt_tokens\":{number},\"completion_tokens\":{number},\"total_tokens\":{number},\"prompt_tokens_details\":{{\"cached_tokens\":{number}}}}}}}\n\n"
        );
        let outcome = drive(&Case::stream("absurd usage", [&delta("Hello"), &stop(), &usage, DONE].concat()));
        let Usage { tokens, accounting, .. } = outcome.usage;
        assert_eq!((accounting.output_source, tokens.output), (Source::Computed, Some(2)), "{number}");
        assert_eq!(accounting.reported_output, None, "{number}");
        assert!(tokens.input_cached.is_none_or(|cached| cached < 1 << 50), "{number}");
    }
    let many: String = (0..5_000).map(|n| format!("\"k{n}\":{{\"d{n}\":{n}}},")).collect();
    let usage = format!(
        "data: {{\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{{{many}\"prompt_tokens\":9,\"completion_tokens\":1}}}}\n\n"
    );
    let outcome =
        drive(&Case::stream("usage with 5,000 details", [&delta("Hello"), &stop(), &usage, DONE].concat()));
    reports(&outcome.usage, 9, 1);
    assert!(serde_json::to_string(&outcome.usage).unwrap().len() < 4_096);
}

#[test]
fn case_69_a_document_with_usage_before_or_after_5_mb_of_choices() {
    let _alone = alone();
    let text = words(5 << 20);
    let choices =
        json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]);
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16});
    let (before, after) = (
        json!({"usage": usage, "choices": choices, "model": "gpt-4o"}),
        json!({"model": "gpt-4o", "choices": choices, "usage": usage}),
    );
    for document in [before.to_string(), after.to_string(), serde_json::to_string_pretty(&after).unwrap()] {
        for frame_bytes in [64 << 10, 5_000] {
            let case = Case::json("case 69: a document of 5 MB", document.clone()).in_frames_of(frame_bytes);
            reports(&drive(&case.within(16 << 20)).usage, 9, 7);
        }
    }
    let none = json!({"model": "gpt-4o", "choices": choices}).to_string();
    unknown(&drive(&Case::json("case 69: and no usage", none).within(16 << 20)).usage, "too_long");
    // A document of which everything stands in the upper levels, so that nothing is skipped.
    let flat: String = (0..600_000).map(|n| format!("\"k{n}\":\"v\",")).collect();
    let flat = format!("{{{flat}\"usage\":{usage},\"model\":\"gpt-4o\"}}");
    reports(&drive(&Case::json("a document of 600,000 members", flat).within(16 << 20)).usage, 9, 7);
    // Short enough to be kept: it is read when it ends.
    let kept = json!({"choices": [{"index": 0, "message": {"content": words(4_000_000)}, "finish_reason": "stop"}], "model": "gpt-4o"});
    let outcome =
        drive(&Case::json("a document of 4 MB, read at its end", kept.to_string()).within(16 << 20));
    assert!(outcome.usage.tokens.output.unwrap() > 500_000);
}

#[test]
fn case_67_bombs() {
    let _alone = alone();
    let zeros = vec![b'0'; 64 << 20];
    let events = delta(&"word ".repeat(1_000)).repeat(20_000);
    let empty = gzip(b"").repeat(1 << 20);
    for (name, coding, coded) in [
        ("case 67: gzip, 64 MiB of zeros", "gzip", gzip(&zeros)),
        ("case 67: zstd, 64 MiB of zeros", "zstd", zstd(&zeros)),
        ("case 67: gzip, 100 MB of events", "gzip", gzip(events.as_bytes())),
        ("case 67: gzip in gzip", "gzip, gzip", gzip(&gzip(&zeros))),
        ("case 67: members of nothing, in gzip", "gzip, gzip", gzip(&empty)),
        ("case 67: members of nothing, in zstd", "gzip, zstd", zstd(&empty)),
    ] {
        let outcome = drive(&Case::stream(name, coded.clone()).coded(coding));
        unknown(&outcome.usage, "encoding");
        assert!(outcome.usage.stream.parse_errors > 0, "{name}");
        drive(&Case::json(name, coded).coded(coding).in_frames_of(700));
    }
    // Not a bomb, and all of it work: members without content as they come.
    let outcome = drive(&Case::stream("20 MB of members of nothing", empty).coded("gzip"));
    assert_eq!(outcome.usage.tokens.output, Some(0));
}

#[test]
fn case_66_codings_that_are_not_what_they_say() {
    let _alone = alone();
    let plain = [&delta("Hello"), &stop(), &usage(9, 1), DONE].concat();
    let coded = gzip(plain.as_bytes());
    let mut bad_sum = coded.clone();
    let sum = bad_sum.len() - 6;
    bad_sum[sum] ^= 1;
    for (name, coding, body, reported) in [
        ("case 66: whole", "gzip", coded.clone(), true),
        ("case 66: stacked", "gzip, zstd", zstd(&coded), true),
        // All events were read; the sum behind them changes nothing but is told.
        ("case 66: bad CRC", "gzip", bad_sum, true),
        ("case 66: cut", "gzip", coded[..coded.len() / 2].to_vec(), false),
        ("case 66: unknown", "snappy", coded.clone(), false),
        ("case 66: not coded at all", "br", plain.clone().into_bytes(), false),
        ("case 66: more than anybody stacks", "gzip, gzip, gzip", gzip(&gzip(&coded)), false),
        ("case 66: a megabyte of names", &"gzip,".repeat(200_000), coded, false),
    ] {
        let Usage { stream, tokens, accounting, .. } = drive(&Case::stream(name, body).coded(coding)).usage;
        assert_eq!(accounting.output_source == Source::Reported, reported, "{name}: {accounting:?}");
        assert_eq!(stream.parse_errors > 0, !reported || name.contains("CRC"), "{name}: {stream:?}");
        assert!(reported || tokens.output.is_none() || accounting.output_quality != Quality::Exact, "{name}");
    }
}

/// What makes an answer slow to read or count.
#[test]
fn texts_that_are_slow() {
    let _alone = alone();
    let escaped = "\\u0041\\ud83d\\ude00\\n".repeat(300);
    for (name, text) in [
        ("rare words", words(4_000)),
        ("one word without end", "a".repeat(4_000)),
        ("no spaces, no pattern", words(4_000).replace([' ', '_'], "")),
        ("marks without end", "a\u{301}".repeat(1_500)),
        ("Chinese", "堰测量水流而不阻挡它".repeat(150)),
        ("spaces", " ".repeat(4_000)),
        ("line ends", "\\r\\n \\n".repeat(600)),
        ("escapes", escaped),
    ] {
        let event = format!(
            "data: {{\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        );
        let answer = [&event.repeat((1 << 20) / event.len()), &stop(), DONE].concat();
        for frame_bytes in [64 << 10, 8 << 10] {
            drive(&Case::stream(name, answer.clone()).in_frames_of(frame_bytes));
        }
    }
}

#[test]
fn a_response_that_repeats_itself() {
    let _alone = alone();
    let text = words(3 << 10);
    let item = json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
    let done =
        |n: u64| event(&json!({"type": "response.output_item.done", "output_index": n % 300, "item": item}));
    let response = event(
        &json!({"type": "response.completed", "response": {"id": "r", "model": "gpt-4o", "status": "completed", "output": vec![item.clone(); 1_000], "usage": {"input_tokens": 9, "output_tokens": 7}}}),
    );
    let answer: String = (0..3_000).map(done).chain([response]).collect();
    let outcome =
        drive(&Case::stream("3,000 items, again and again", answer).of(Api::Responses).within(16 << 20));
    reports(&outcome.usage, 9, 7);
}
