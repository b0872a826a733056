//! A gist says what its document says.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chunk::{AnthropicMessage, MessagesEvent};

fn gist<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, bool) {
    let mut gist = Gist::default();
    for piece in pieces {
        gist.push(piece);
        assert!(gist.copy.out.len() <= GIST_BYTES_MAX && gist.tail.len() <= 2 * TAIL_BYTES_MAX);
    }
    (String::from_utf8(gist.read().to_vec()).unwrap(), gist.is_complete())
}

#[test]
fn labels_ends_and_reports_are_copied_and_texts_are_not() {
    let json = r#" {"id":"a\"b","object":"x","choices":[{"index":1,"delta":{"content":"no"},"finish_reason":null},7,
        {"message":{"usage":{"a":1}},"finish_reason":"stop"}],"usage":{"a":1,"b":{"c":{"d":[1],"e":null}}},"b64_json":"AAA",
        "response":{"status":"completed","output":[{"text":"no"},7,{"type":"x","result":"AAA","svg_usage":{"model":"m","a":1}},["no"]],"model":"m","error":{"code":"c"}},"output":[],"created":12,
        "data":[[{}]],"error":"e","usage":null,"choices":{}} "#;
    let expected = r#"{"id":"a\"b","object":"x","choices":[{"index":1,"finish_reason":null},{"finish_reason":"stop"}],"usage":{"a":1,"b":{"c":{"d":null,"e":null}}},"response":{"status":"completed","output":[{},null,{"type":"x","svg_usage":{"model":"m","a":1}},null],"model":"m","error":{"code":"c"}},"output":[],"created":12,"data":[null],"error":"e","usage":null,"choices":null}"#;
    assert_eq!(gist([json.as_bytes()]), (expected.to_owned(), true));
    assert_eq!(gist([expected.as_bytes()]), (expected.to_owned(), true));
    let mut gist = Gist::of(json.as_bytes());
    assert!(gist.left_out_items() && Chunk::parse(gist.read()).is_ok());
}

#[test]
fn a_document_that_is_cut_is_closed_where_it_is() {
    let json = r#"{"model":"m","response":{"usage":{"input_tokens":12,"details":{"a":1},"b":2}},"x":1}"#;
    for end in 1..json.len() {
        let (text, complete) = gist([&json.as_bytes()[..end]]);
        assert!(!complete && serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
    assert_eq!(gist([&br#"{"model":"m","usage":{"a":1,"b":2"#[..]]).0, r#"{"model":"m","usage":{"a":1}}"#);
}

#[test]
fn a_usage_that_is_malformed_says_nothing_in_a_long_document_either() {
    for usage in [
        r#"{"prompt_tokens":3,2"x":4}"#,
        r#"{"prompt_tokens":3 "completion_tokens":4}"#,
        r#"{"prompt_tokens":3,"completion_tokens":}"#,
        r#"{"prompt_tokens":3,"completion_tokens" 4}"#,
        r#"{"prompt_tokens":3,}"#,
        r#"{"prompt_tokens":3,"d":{"cached_tokens":1,@"}"}}"#,
        r#"{"prompt_tokens":3,"d":{"cached_tokens":1 [2,{}]}}"#,
    ] {
        for json in [
            format!(r#"{{"usage":{usage},"model":"m","error":{{"code":"c"}}}}"#),
            format!(
                r#"{{"usage":{{"prompt_tokens":7}},"usage":{usage},"model":"m","error":{{"code":"c"}}}}"#
            ),
        ] {
            for size in [1, 7, 1000] {
                let mut gist = Gist::default();
                json.as_bytes().chunks(size).for_each(|piece| gist.push(piece));
                assert!(gist.is_complete(), "{json}");
                let (short, long) =
                    (Chunk::parse(json.as_bytes()).unwrap(), Chunk::parse(gist.read()).unwrap());
                for chunk in [short, long] {
                    assert_eq!(
                        chunk.charges().unwrap().usage(),
                        Some(crate::chunk::Reported::default()),
                        "{json}"
                    );
                    assert_eq!(
                        (chunk.model.unwrap().raw(), chunk.failure().class()),
                        (&b"m"[..], "c"),
                        "{json}"
                    );
                }
            }
        }
    }
    assert!(!Gist::of(br#"{"usage":{"a":1],"model":"m"}"#).is_complete(), "a bracket of another kind");
    let tail = r#"{"a" 1,"usage":{"prompt_tokens":3,2"x":4}}"#;
    assert!(Gist::of(tail.as_bytes()).last_usage().is_none());
}

#[test]
fn the_end_marker_is_no_document() {
    for (text, is) in [
        ("[DONE]", true),
        ("  [DONE]\n ", true),
        ("", false),
        ("[DONE", false),
        ("[DONE]x", false),
        ("[D ONE]", false),
        ("{}", false),
    ] {
        let mut gist = Gist::default();
        text.as_bytes().chunks(2).for_each(|piece| gist.push(piece));
        assert_eq!((gist.is_done_marker(), gist.is_complete()), (is, text == "{}"), "{text}");
        gist.restart();
        gist.push(b"[DONE]");
        assert!(gist.is_done_marker());
    }
}

/// The end says the same in any two pieces as in one.
#[test]
fn what_stands_at_the_end_does_not_depend_on_cuts() {
    for document in [
        r#"{"choib:[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        r#"{"a" 1,"usage":{"prompt_tokens":3}}"#,
        r#"{"a":1 "usage":{"prompt_tokens":3}}"#,
        r#"{"a":[1},"b":"\"usage\"","usage":{"prompt_tokens":3}}"#,
    ] {
        let said = |at: usize| {
            let mut gist = Gist::of(&document.as_bytes()[..at]);
            gist.push(&document.as_bytes()[at..]);
            gist.last_usage().and_then(|charges| charges.usage()?.input)
        };
        for at in 0..document.len() {
            assert_eq!(said(at), said(document.len()), "{at}: {document}");
        }
    }
}

fn last_usage(document: &str) -> Option<u64> {
    let mut gist = Gist::default();
    document.as_bytes().chunks(1000).for_each(|piece| gist.push(piece));
    gist.last_usage()?.usage()?.input
}

#[test]
fn a_usage_at_the_end_stands_though_the_document_is_malformed_further_up() {
    let usage = r#""usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":1},"output_tokens":8}"#;
    let filler = "A".repeat(200_000);
    for (document, expected) in [
        (format!(r#"{{"a" 1,"b":"{filler}",{usage}}}"#), Some(7)),
        (format!(r#"{{"response":{{"a" 1,"b":"{filler}",{usage},"user":null}} }} "#), Some(7)),
        // Not malformed: the gist itself has it.
        (format!(r#"{{"b":"{filler}",{usage}}}"#), None),
        // A text of the model, whatever is around it.
        (format!(r#"{{"a" 1,"text":"{}"}}"#, usage.replace('"', "\\\"")), None),
        (format!(r#"{{"a" 1,"text":"{filler} {usage}"}}"#), None),
        (format!("{filler} {{{usage}}}"), None),
        (format!("[{{{usage}}}]"), None),
        // Not at the end, or not whole.
        (format!(r#"{{"a" 1,{usage},"b":"{filler}"}}"#), None),
        (format!(r#"{{"a" 1,{usage},x}}"#), None),
        (format!(r#"{{"a" 1,{}"#, &usage[..usage.len() - 1]), None),
    ] {
        assert_eq!(last_usage(&document), expected, "{}", &document[document.len().saturating_sub(150)..]);
    }
}

#[test]
fn more_than_anybody_sends_is_no_gist() {
    let many: String = (0..GIST_BYTES_MAX).map(|n| format!("\"a{n}\":{n},")).collect();
    assert_eq!(gist([format!("{{\"usage\":{{{many}\"a\":1}}}}").as_bytes()]), (String::new(), false));
    let many: String = (0..10_000).map(|n| format!("{{\"index\":{n}}},")).collect();
    assert!(gist([format!("{{\"choices\":[{many}{{}}]}}").as_bytes()]).1);
    let deep = format!("{{\"usage\":{}1{}}}", "{\"a\":".repeat(100), "}".repeat(100));
    assert!(gist([deep.as_bytes()]).1);
}

/// Documents of the names that count and of others, at any depth.
fn document() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "usage",
        "response",
        "error",
        "choices",
        "index",
        "finish_reason",
        "delta",
        "model",
        "id",
        "type",
        "code",
        "output",
        "status",
        "incomplete_details",
        "reason",
        "input_tokens",
        "input_tokens_details",
        "cached_tokens",
        "created",
        "item",
        "output_index",
        "background",
        "output_file_id",
        "seconds",
        "n_seconds",
        "n_variants",
        "object",
        "body",
        "svg_usage",
        "output_tokens",
        "tool_usage",
        "image_gen",
        "reasoning",
        "effort",
        "agent_reference",
        "agent",
        "name",
        "message",
        "stop_reason",
        "iterations",
        "cache_creation",
        "ephemeral_1h_input_tokens",
        "data",
        "size",
        "quality",
        "duration",
        "x\"y",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        (0..1000_u32).prop_map(Into::into),
        prop::sample::select(vec![
            "stop",
            "",
            "a\"\\b",
            "response.completed",
            "é😀",
            "message_start",
            "text_delta",
            "advisor_message"
        ])
        .prop_map(Into::into),
        Just(Value::String("long ".repeat(100))),
    ];
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            3 => prop::collection::vec((names.clone(), inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    });
    value.prop_filter("bodies are objects", Value::is_object)
}

/// The members that the reader of Anthropic's Messages reads, as a text.
fn read_as_message(document: &[u8]) -> String {
    let label = |text: Option<crate::chunk::Text<'_>>| {
        text.map(|text| text.lossy().into_owned()).filter(|text| text.len() < 256)
    };
    let said = |message: AnthropicMessage<'_>| {
        let usage = message.usage().unwrap_or_default();
        let labels = [message.stop_reason, usage.service_tier, usage.speed].map(label);
        format!("{labels:?} {:?} {}", usage.cost, usage.implausible)
    };
    let event = MessagesEvent::parse(document).unwrap();
    let started = event.started().map(|started| said(AnthropicMessage::parse(started).unwrap()));
    let whole = said(AnthropicMessage::parse(document).unwrap());
    format!("{:?} {started:?} {whole} {} {:?}", event.kind(), said(event.change().unwrap()), event.is_said())
}

/// The members that the readers of short documents read, but for texts.
fn read(document: &[u8]) -> String {
    let chunk = Chunk::parse(document).unwrap();
    let mut ends = Vec::new();
    _ = chunk.choices(|choice| {
        ends.push((choice.index, choice.finish_reason.map(|end| end.lossy().into_owned())))
    });
    let response = crate::chunk::Response::parse(document).unwrap();
    let label = |text: Option<crate::chunk::Text<'_>>| {
        text.map(|text| text.lossy().into_owned()).filter(|text| text.len() < 256)
    };
    let own = |chunk: &Chunk<'_>| {
        let labels = [chunk.id, chunk.model, chunk.service_tier, chunk.kind].map(label);
        json!([labels, chunk.created, chunk.no_choices(), chunk.is_error()]).to_string()
            + &format!("{:?} {:?}", chunk.failure(), chunk.charges())
    };
    let inner = chunk.response().map(|inner| own(&inner));
    let end = (label(response.status), label(response.incomplete_reason), label(response.effort));
    let agent = label(response.agent);
    let mut items = Vec::new();
    _ = response.items(|place, item| items.push(format!("{place} {:?} {:?}", item.kind, item.charges())));
    let event = crate::chunk::ResponsesEvent::parse(document).unwrap();
    let item = event.item().unwrap().map(|item| (event.item_index, item.kind, item.charges()));
    let messages = read_as_message(document);
    let media = crate::chunk::Media::parse(document).unwrap();
    let media = (label(media.size), label(media.quality), media.duration_ms, media.entries);
    let work = crate::chunk::Work::parse(document).unwrap();
    let work = ([work.object, work.status, work.output_file].map(label), work.length_ms, response.background);
    let line = crate::chunk::BatchLine::parse(document).unwrap();
    let body = line.body().unwrap().map(|body| own(&body));
    format!(
        "{messages} {media:?} {work:?} {} {body:?} {} {inner:?} {ends:?} {end:?} {agent:?} {} {items:?} {item:?}",
        line.is_output,
        own(&chunk),
        response.has_output()
    )
}

proptest! {
    #[test]
    fn a_gist_says_what_its_document_says(document in document(), size in 1_usize..40) {
        let text = document.to_string();
        let (found, complete) = gist(text.as_bytes().chunks(size));
        prop_assert!(complete, "{}", text);
        prop_assert_eq!(read(found.as_bytes()), read(text.as_bytes()), "{}", text);
        prop_assert_eq!(gist([text.as_bytes()]).0, found);
    }

    /// Also if a byte of it is another: who reads the one finds the same malformed as who reads the other.
    #[test]
    fn a_gist_is_malformed_where_its_document_is(
        document in document(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"{}[]\",:x1!".to_vec()),
        size in 1_usize..40,
    ) {
        let mut bytes = document.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut gist = Gist::default();
        bytes.chunks(size).for_each(|piece| gist.push(piece));
        let Ok(whole) = Chunk::parse(&bytes) else { return Ok(()) };
        let complete = gist.is_complete();
        let short = gist.read();
        if complete && let Ok(chunk) = Chunk::parse(short) {
            let text = String::from_utf8_lossy(&bytes);
            let agent = |document| {
                let agent = crate::chunk::Response::parse(document).ok()?.agent?;
                Some(agent.lossy().into_owned()).filter(|agent| agent.len() < 256)
            };
            prop_assert_eq!(agent(short), agent(&bytes), "{}", text);
            prop_assert_eq!(format!("{:?}", chunk.charges()), format!("{:?}", whole.charges()), "{}", text);
            prop_assert_eq!(chunk.failure(), whole.failure(), "{}", text);
        }
    }

    #[test]
    fn any_bytes_have_a_gist_or_none(bytes in "[\\[\\]{}\":,a1\\\\ ]{0,60}", size in 1_usize..9) {
        let (text, complete) = gist(bytes.as_bytes().chunks(size));
        prop_assert!(text.is_empty() || serde_json::from_str::<Value>(&text).is_ok() || !complete, "{}", text);
        prop_assert_eq!(gist([bytes.as_bytes()]), (text, complete));
    }
}
