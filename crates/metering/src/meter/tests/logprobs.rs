//! Responses with `logprobs`, which are a thousand times as long as the text: what is counted is the same with
//! them and without, however the response is cut, and of what they take nothing is held.

use serde_json::{Value, json};

use super::*;

/// Words that are one token each, whatever follows.
const WORDS: [&str; 8] = [" the", " of", " and", " a", " in", " to", " is", " that"];

/// The entries for these words, each with as many others that might have stood there.
fn entries(words: &[usize], others: usize) -> Value {
    let entry = |word: &str| json!({"token": word, "logprob": -0.1, "bytes": word.as_bytes()});
    let of_word = |&word: &usize| {
        let others: Vec<_> = (0..others).map(|n| entry(WORDS[n % WORDS.len()])).collect();
        let mut entry = entry(WORDS[word]);
        entry["top_logprobs"] = others.into();
        entry
    };
    words.iter().map(of_word).collect()
}

fn text(words: &[usize]) -> String {
    words.iter().map(|&word| WORDS[word]).collect()
}

/// The same response in each shape that there is, with `logprobs` or without.
fn answers(words: &[usize], others: usize, with: bool) -> Vec<(Api, bool, String)> {
    let list = |words: &[usize]| if with { entries(words, others) } else { Value::Null };
    let logprobs =
        |words: &[usize]| if with { json!({"content": list(words), "refusal": null}) } else { Value::Null };
    let events =
        |events: Vec<Value>| -> String { events.iter().map(|event| format!("data: {event}\n\n")).collect() };
    let choice = json!({"index": 0, "finish_reason": "stop", "logprobs": logprobs(words),
        "message": {"role": "assistant", "content": text(words)}});
    let chat = json!({"id": "c", "model": MODEL, "choices": [choice]}).to_string();
    let pieces = || words.chunks(40);
    let chunk = |words: &[usize]| {
        let choice = json!({"index": 0, "delta": {"content": text(words)}, "logprobs": logprobs(words)});
        json!({"id": "c", "model": MODEL, "choices": [choice]})
    };
    let chunks = events(pieces().map(chunk).collect()) + &finish(0, "stop") + DONE;
    // All of it in one event, as it comes from a filter that holds a stream back.
    let one = events(vec![chunk(words)]) + &finish(0, "stop") + DONE;
    let older = json!({"id": "c", "model": "gpt-35-turbo", "choices": [{"index": 0, "text": text(words), "finish_reason": "stop",
    "logprobs": if with {
        json!({"tokens": words.iter().map(|&word| WORDS[word]).collect::<Vec<_>>(), "top_logprobs": vec![json!({" a": -1, " b": -2}); words.len()]})
    } else {
        Value::Null
    }}]});
    let part = json!({"type": "output_text", "text": text(words), "logprobs": if with { list(words) } else { json!([]) }});
    let response = json!({"id": "r", "object": "response", "model": MODEL, "status": "completed",
        "output": [{"type": "message", "id": "m", "role": "assistant", "content": [part]}]});
    let delta = |words: &[usize]| {
        json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": text(words),
            "logprobs": if with { list(words) } else { json!([]) }})
    };
    let mut deltas =
        vec![json!({"type": "response.created", "response": {"id": "r", "model": MODEL, "output": []}})];
    deltas.extend(pieces().map(delta));
    deltas.push(json!({"type": "response.completed", "response": response}));
    vec![
        (Api::ChatCompletions, false, chat),
        (Api::ChatCompletions, true, chunks),
        (Api::ChatCompletions, true, one),
        (Api::Completions, false, older.to_string()),
        (Api::Responses, false, response.to_string()),
        (Api::Responses, true, events(deltas)),
    ]
}

/// The event, and the most that was held on the way.
fn run(api: Api, stream: bool, body: &str, sizes: &[usize]) -> (Usage, usize) {
    let mut meter = Meter::new(draft(api), AZURE);
    meter.request_bytes(REQUEST.replace("true", if stream { "true" } else { "false" }).as_bytes());
    meter.request_end();
    let kind = if stream { "text/event-stream" } else { "application/json" };
    meter.response_head(StatusCode::OK, &headers(kind));
    let (mut rest, mut held_bytes) = (body.as_bytes(), 0);
    for &size in sizes.iter().cycle() {
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        meter.response_bytes(piece, usize::MAX);
        held_bytes = held_bytes.max(meter.memory_bytes());
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    (meter.settle(Ending::Eof), held_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_the_same_with_logprobs_and_without(
        words in prop::collection::vec(0..WORDS.len(), 1..600),
        others in prop::sample::select(vec![0_usize, 2, 20]),
        sizes in prop::collection::vec(prop_oneof![1_usize..50, 1000_usize..70_000], 1..6),
    ) {
        for ((api, stream, with), (_, _, without)) in
            answers(&words, others, true).into_iter().zip(answers(&words, others, false))
        {
            let (found, _) = run(api, stream, &with, &sizes);
            let (expected, _) = run(api, stream, &without, &[usize::MAX]);
            prop_assert_eq!(found.stream.parse_errors, 0);
            prop_assert!(expected.tokens.output.is_some_and(|tokens| tokens >= words.len() as u64));
            prop_assert_eq!(found.tokens.output, expected.tokens.output, "{:?} {}", api, stream);
            prop_assert_eq!(&found.accounting, &expected.accounting, "{:?} {}", api, stream);
        }
    }
}

/// Some megabytes of them: what is held is the text, and at most one event or document that is short.
#[test]
fn nothing_of_them_is_held() {
    let words: Vec<_> = (0..2_300).map(|n| n * 7 % WORDS.len()).collect();
    let text_bytes = text(&words).len();
    for (api, stream, body) in answers(&words, 20, true) {
        for size in [977, 64 << 10] {
            let (usage, held_bytes) = run(api, stream, &body, &[size]);
            assert!(usage.tokens.output.is_some_and(|tokens| tokens >= 2_300), "{api:?} {stream}");
            // A buffer doubles, an event in parts begins when it is longer than 64 KiB.
            let held_bytes_max = 2 * text_bytes + (160 << 10);
            assert!(
                held_bytes <= held_bytes_max,
                "{api:?} {stream}: {held_bytes} of {} are held",
                body.len()
            );
            let skipped = api != Api::Completions;
            assert!(!skipped || body.len() > 10 * held_bytes, "{api:?}: {held_bytes} of {}", body.len());
        }
    }
}
