//! The edited body is the same JSON with one field more, and nothing else, however it arrives.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn inspect(body: &[u8], piece_bytes: usize) -> Inspected {
    let mut inspection = Inspection::default();
    body.chunks(piece_bytes.max(1)).for_each(|piece| inspection.push(piece));
    inspection.finish()
}

fn edited(body: &str) -> Option<String> {
    let edit = edit(body.as_bytes())?;
    let pieces = edit.apply(&[Bytes::copy_from_slice(body.as_bytes())]);
    Some(String::from_utf8(pieces.concat()).unwrap())
}

/// The promise: the same JSON and one field, and no other byte touched.
fn holds_what_it_promises(body: &[u8]) -> Result<bool, TestCaseError> {
    let Some(edit) = edit(body) else { return Ok(false) };
    let whole = edit.apply(&[Bytes::copy_from_slice(body)]).concat();
    let (at, behind) = (edit.at, edit.at + edit.insert.len());
    prop_assert_eq!(&whole[at..behind], edit.insert.as_bytes());
    let cut = &body[at..at + edit.cut];
    prop_assert!(matches!(cut, b"" | b"null" | b"false"), "taken out: {:?}", cut);
    prop_assert_eq!([&whole[..at], cut, &whole[behind..]].concat(), body);
    if let Ok(mut before) = serde_json::from_slice::<Value>(body) {
        let options = &mut before["stream_options"];
        if options.is_null() {
            *options = json!({});
        }
        options["include_usage"] = json!(true);
        prop_assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), before);
    }
    Ok(true)
}

#[test]
fn each_way_not_to_ask_is_made_to_ask() {
    for (body, expected) in [
        (r#"{"stream":true}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        (" {\"stream\" : true\n}\n", " {\"stream\" : true\n,\"stream_options\":{\"include_usage\":true}}\n"),
        (
            r#"{"stream_options":{},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{ "include_obfuscation":{"a":[]} },"stream":true}"#,
            r#"{"stream_options":{ "include_obfuscation":{"a":[]} ,"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options": null ,"stream":true}"#,
            r#"{"stream_options": {"include_usage":true} ,"stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":null,"x":1}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (
            r#"{"str\u0065am":true,"stream\u005foptions":{"\u0069nclude_usage":false}}"#,
            r#"{"str\u0065am":true,"stream\u005foptions":{"\u0069nclude_usage":true}}"#,
        ),
        // Look-alikes: below the top, and within texts.
        (
            r#"{"metadata":{"stream_options":{"include_usage":true},"stream":false},"stream":true}"#,
            r#"{"metadata":{"stream_options":{"include_usage":true},"stream":false},"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"messages":[{"content":"\"stream_options\":{\"include_usage\":true},}"}],"stream":true}"#,
            r#"{"messages":[{"content":"\"stream_options\":{\"include_usage\":true},}"}],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        assert_eq!(edited(body).as_deref(), Some(expected), "{body}");
        assert!(holds_what_it_promises(body.as_bytes()).unwrap(), "{body}");
    }
}

#[test]
fn what_asks_already_or_is_odd_is_left_alone() {
    let deep = format!(r#"{{"a":{}{},"stream":true}}"#, "[".repeat(200), "]".repeat(200));
    for body in [
        "",
        "{}",
        "null",
        "[]",
        r#"{"stream":false}"#,
        r#"{"stream":null}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":1}"#,
        r#"{"stream":{}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"false"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":{}}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":0}}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":false}"#,
        r#"{"stream":true,"stream_options":"null"}"#,
        // Twice: readers differ in which one counts.
        r#"{"stream":true,"stream":true}"#,
        r#"{"stream":false,"stream":true}"#,
        r#"{"stream":true,"stream_options":{},"stream_options":null}"#,
        r#"{"stream":true,"stream_options":null,"stream\u005foptions":{}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        r#"{"stream":true,"data_sources":[{}]}"#,
        r#"{"stream":true,"data_sources":[]}"#,
        // No JSON, or more than JSON.
        "\u{feff}{\"stream\":true}",
        r#"{"stream":true}}"#,
        r#"{"stream":true} x"#,
        r#"{"stream":true,}"#,
        r#"{"stream":true"#,
        r#"{"stream":true]"#,
        r#"{stream:true}"#,
        r#"{"stream":True}"#,
        r#"{"stream":true,"a":01}"#,
        r#"{"stream":true,"a":"\x"}"#,
        r#"{"stream":true,"a":"\u12g4"}"#,
        "{\"stream\":true,\"a\":\"\n\"}",
        r#"{"stream":true,"a":[1 2]}"#,
        r#"{"stream":true /* yes */}"#,
        r#"{"stream" true}"#,
        &deep,
    ] {
        assert_eq!(edited(body), None, "{body}");
    }
}

#[test]
fn what_is_no_clear_no_may_stream() {
    for (body, may_stream) in [
        (r#"{"stream":true}"#, true),
        (r#"{"stream":"true"}"#, true),
        (r#"{"stream":1}"#, true),
        (r#"{"stream":[]}"#, true),
        (r#"{"stream":true,"stream":false}"#, true),
        (r#"{"stream":false,"str\u0065am":true}"#, true),
        (r#"{"stream":false,"Stream":true}"#, true),
        (r#"{"STREAM":{}}"#, true),
        (r#"{" stream ":1}"#, true),
        (r#"{"stream\u0000x":true}"#, true),
        (r#"{"Stream":false,"streams":true}"#, false),
        (r#"{"stream":false}"#, false),
        (r#"{"stream":null}"#, false),
        (r#"{"a":{"stream":true}}"#, false),
        ("{}", false),
    ] {
        let found = inspect(body.as_bytes(), 3);
        assert_eq!((found.readable, found.may_stream), (true, may_stream), "{body}");
    }
    assert!(!inspect(b"{\"stream\":fals", 3).readable);
}

#[test]
fn a_model_and_an_image_are_noticed() {
    let found = inspect(
        br#"{"mod\u0065l":"gpt-4o","messages":[{"content":[{"image_url":{"url":"data:.."}}]}]}"#,
        usize::MAX,
    );
    assert_eq!((found.model.as_deref(), found.images), (Some("gpt-4o"), true));
    assert!(!inspect(br#"{"a":"image_url"}"#, 9).images);
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t \r\n"])
}

/// A member as text: often one that matters.
fn member() -> impl Strategy<Value = String> {
    let keys = vec![
        "stream",
        "stream",
        "str\\u0065am",
        "stream_options",
        "data_sources",
        "model",
        "messages",
        "n",
        "Stream",
        "stream_options ",
    ];
    let values = vec![
        "true",
        "true",
        "false",
        "null",
        "{}",
        "[]",
        "-1.5e3",
        "\"true\"",
        "\"}\\\"{\\\\\"",
        "\"\\ud83d\\ude00é\"",
        "{\"include_usage\":false}",
        "{\"include_usage\": null ,\"a\":[{}]}",
        "{\"include_usage\":true}",
        "{\"a\":{\"include_usage\":true}}",
        "[{\"stream\":true},[],[1,2]]",
    ];
    (prop::sample::select(keys), prop::sample::select(values), space(), space(), space(), space())
        .prop_map(|(key, value, a, b, c, d)| format!("{a}\"{key}\"{b}:{c}{value}{d}"))
}

fn body() -> impl Strategy<Value = String> {
    (space(), prop::collection::vec(member(), 0..6), space())
        .prop_map(|(a, members, b)| format!("{a}{{{}}}{b}", members.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// A body that says `stream` once and plainly, and not yet that it wants usage, is edited.
    #[test]
    fn bodies_are_edited_when_they_should_be_and_only_so(body in body()) {
        let done = holds_what_it_promises(body.as_bytes())?;
        let value: Value = serde_json::from_str(&body).unwrap();
        let times = |name: &str| {
            let plain = body.replace("\\u0065", "e");
            plain.matches(&format!("\"{name}\"")).count() - plain.matches(&format!("{{\"{name}\"")).count()
                + usize::from(plain.trim_start().starts_with(&format!("{{\"{name}\"")))
        };
        let options = &value["stream_options"];
        let plain = options.is_null()
            || options.as_object().is_some_and(|object| {
                matches!(object.get("include_usage"), None | Some(Value::Null | Value::Bool(false)))
            });
        let should = value["stream"] == true && times("stream") == 1 && times("stream_options") <= 1 && plain
            && value["data_sources"].is_null() && times("data_sources") <= 1;
        if times("data_sources") <= 1 {
            prop_assert_eq!(done, should, "{}", body);
        }
    }

    #[test]
    fn bytes_gone_wrong_keep_the_promise(
        body in body(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = body.into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let done = holds_what_it_promises(&bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        if done {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "no JSON: {}", text);
        }
    }

    #[test]
    fn splits_do_not_matter(body in body(), size in 1_usize..9) {
        let whole = inspect(body.as_bytes(), usize::MAX);
        prop_assert_eq!(&inspect(body.as_bytes(), size), &whole);
        if let Some(edit) = whole.edit {
            let pieces: Vec<Bytes> = body.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let bytes = edit.apply(&pieces).concat();
            prop_assert_eq!(bytes, edit.apply(&[Bytes::from(body)]).concat());
        }
    }
}
