//! Embeddings and older completions.

use super::*;
use crate::meter::body::MeteredBody;

/// Output of an older completion: tokens, quality, reasons.
fn completed(more: &str, choices: &str) -> (Option<u64>, Quality, String) {
    said_by("gpt-3.5-turbo-instruct", FREE, more, choices)
}

fn said_by(model: &str, rules: Rules, more: &str, choices: &str) -> (Option<u64>, Quality, String) {
    let request = format!(r#"{{{more}"prompt":"Hello, world","model":"{model}"}}"#);
    let body = format!(r#"{{"object":"text_completion","model":"{model}","choices":[{choices}]}}"#);
    let event = Exchange { api: Api::Completions, rules, request: &request, ..Exchange::json(&body) }.run();
    assert_eq!((event.tokens.input, event.accounting.input_quality), (Some(3), Quality::Exact));
    let reasons = event.accounting.reasons.into_iter().filter(|reason| reason.starts_with("output:"));
    (event.tokens.output, event.accounting.output_quality, reasons.collect::<Vec<_>>().join(" "))
}

fn choice(index: u32, text: &str, finish: &str) -> String {
    format!(r#"{{"text":"{text}","index":{index},"logprobs":null,"finish_reason":"{finish}"}}"#)
}

#[test]
fn a_text_costs_its_tokens() {
    let exact = |tokens| (Some(tokens), Quality::Exact, String::new());
    assert_eq!(completed("", &choice(0, "Hello, world", "stop")), exact(3));
    let two = [choice(0, "Hello", "stop"), choice(1, ", world", "stop")].join(",");
    assert_eq!(completed(r#""n":2,"#, &two), exact(3));
    assert_eq!(completed("", &choice(0, "Hello, world", "length")), exact(3), "far from the default limit");
    let text = "Hello, world".repeat(5); // 15 tokens
    assert_eq!(completed("", &choice(0, &text, "length")), exact(16), "the default limit");
    assert_eq!(completed(r#""max_tokens":14,"#, &choice(0, &text, "length")), exact(14));
    let sampled = r#"{"text":"Hello","index":0,"logprobs":{"tokens":["Hel","lo"],"token_logprobs":[-1,-1],"text_offset":[0,3]},"finish_reason":"stop"}"#;
    assert_eq!(completed("", sampled), exact(2));
    assert_eq!(said_by("babbage:2023-07-21-v2", FREE, "", &choice(0, "Hello, world", "stop")), exact(3));
}

#[test]
fn what_is_not_sure_is_said() {
    let stopped = choice(0, "Hello", "stop");
    let estimated = |reason: &str| (Some(1), Quality::Estimated, format!("output:{reason}"));
    assert_eq!(completed(r#""stop":"\n","#, &stopped), estimated("stop_sequence"));
    assert_eq!(completed("", &choice(0, "Hello", "content_filter")), estimated("content_filter"));
    assert_eq!(completed(r#""n":1,"best_of":1,"#, &stopped).1, Quality::Exact);
    let unseen = (Some(1), Quality::LowerBound, "output:best_of".to_owned());
    assert_eq!(completed(r#""best_of":3,"#, &stopped), unseen);
    let azure = said_by("gpt-35-turbo-instruct", AZURE, "", &stopped);
    assert_eq!(azure, estimated("end_of_turn"));
}

#[test]
fn case_36_a_repeated_prompt_is_taken_off() {
    let echo = r#""echo":true,"#;
    let repeated = choice(0, "Hello, world Hello", "stop");
    assert_eq!(completed(echo, &repeated), (Some(1), Quality::Estimated, "output:echo".to_owned()));
    let both = [choice(0, "Hello, world a", "stop"), choice(1, "Hello, world b", "stop")].join(",");
    assert_eq!(completed(r#""echo":true,"n":2,"#, &both).0, Some(2));
    // The service's word settles both; nothing is then known of the prompt.
    let request = r#"{"model":"gpt-3.5-turbo-instruct","prompt":"Hello, world","echo":true}"#;
    let body = format!(
        r#"{{"model":"gpt-3.5-turbo-instruct","choices":[{repeated}],"usage":{{"prompt_tokens":3,"completion_tokens":1}}}}"#
    );
    let event = Exchange { api: Api::Completions, request, ..Exchange::json(&body) }.run();
    assert_eq!((event.tokens.output, event.accounting.computed_output), (Some(1), None));
}

#[test]
fn choices_of_a_stream_may_be_mixed() {
    let chunk = |index: u32, text: &str, finish: &str| {
        let model = "gpt-3.5-turbo-instruct";
        format!(
            r#"data: {{"model":"{model}","choices":[{{"text":"{text}","index":{index},"logprobs":null,"finish_reason":{finish}}}]}}"#
        ) + "\n\n"
    };
    let parts = [
        chunk(0, "Hel", "null"),
        chunk(1, "Hello", "null"),
        chunk(0, "lo, wor", "null"),
        chunk(1, "", r#""stop""#),
        chunk(0, "ld", r#""stop""#),
        DONE.to_owned(),
    ];
    let request = r#"{"model":"gpt-3.5-turbo-instruct","prompt":"Hello","n":2,"stream":true}"#;
    let body = parts.concat();
    for piece_bytes in [1, 7, usize::MAX] {
        let event = Exchange { api: Api::Completions, request, piece_bytes, ..Exchange::stream(&body) }.run();
        assert_eq!((event.tokens.input, event.tokens.output), (Some(1), Some(4)));
        assert_eq!(event.accounting.output_quality, Quality::Exact);
        assert_eq!(event.accounting.tokenizer.as_deref(), Some("cl100k_base"));
    }
    let cut = parts[..3].concat();
    let event = Exchange { api: Api::Completions, request, ..Exchange::stream(&cut) }.run();
    assert_eq!((event.tokens.output, event.accounting.output_quality), (Some(4), Quality::LowerBound));
}

#[test]
fn case_70_embeddings_have_no_output() {
    let request = r#"{"model":"d","input":["Hello, world","Hello"]}"#;
    let floats = "0.0123456789,".repeat(400_000);
    let long = format!(
        r#"{{"object":"list","data":[{{"embedding":[{floats}1]}}],"model":"text-embedding-ada-002","usage":{{"prompt_tokens":5,"total_tokens":5}}}}"#
    );
    let run = |body: &str, ending| {
        Exchange { api: Api::Embeddings, request, ending, piece_bytes: 60_000, ..Exchange::json(body) }.run()
    };
    let event = run(&long, Ending::Eof);
    assert_eq!((event.tokens.input, event.tokens.output), (Some(5), Some(0)));
    assert_eq!((event.accounting.input_source, event.stream.parse_errors), (Source::Reported, 0));
    let event = run(&long.replace("usage", "other"), Ending::Eof);
    assert_eq!((event.tokens.input, event.tokens.output), (Some(4), Some(0)));
    assert_eq!(event.accounting.input_quality, Quality::Exact);
    // Cut: there is still nothing to bill but the input, under a model that is assumed.
    let event = run(&long[..1_000_000], Ending::ClientDisconnect);
    assert_eq!((event.tokens.output, event.accounting.output_quality), (Some(0), Quality::Exact));
    assert_eq!(run("{\"model\":", Ending::Eof).stream.parse_errors, 1);
}

#[test]
fn nothing_of_an_embedding_is_kept() {
    let mut body = MeteredBody::new(
        Api::Embeddings,
        StatusCode::OK,
        &headers("application/json"),
        false,
        Bounds::default(),
    );
    body.push(br#"{"data":[{"embedding":"#);
    for _ in 0..100 {
        body.push(&[b'9'; 64 << 10]);
        assert!(body.unread_bytes() == 0 && body.is_light());
    }
    assert!(!body.response.too_long);
}
