//! A request in any pieces gets the same edit. It asks for usage then, all else in it stays as it was,
//! and it gets one exactly if serde_json and the rules of `chunk::edit` say that it should.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metering::chunk::{Edit, Inspected, Inspection};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokenweir_fuzz::{Cuts, Members, is_named, spelled};

/// What the first control characters stand for.
const WORDS: [&str; 25] = [
    "\"stream\":",
    "\"stream\":true",
    "\"stream_options\":",
    "\"stream_options\":{",
    "\"include_usage\":",
    "\"data_sources\":",
    "\"model\":",
    "\"str\\u0065am\":",
    "\"stream\\u005foptions\":",
    "\"\\u0069nclude_usage\":",
    "\"image_url\":",
    "true",
    "false",
    "null",
    "{}",
    "[]",
    "{\"a\":{\"stream\":true}}",
    "\"\\ud83d\\ude00\\\"}\"",
    "\"\\ud800\"",
    "-1.5e3",
    "1e999",
    "11111111111111111111111111111111",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
];

/// Brackets that may be open at once, as in serde_json.
const DEPTH_MAX: usize = 127;

/// A number is shorter than this, and the name of a model too.
const TOKEN_BYTES_MAX: usize = 128;

fuzz_target!(|input: &[u8]| {
    let (mut cuts, text) = Cuts::take(input);
    let body = spelled(text, &WORDS);
    let (pieces, bytes): (Vec<&[u8]>, Vec<&[u8]>) = (cuts.pieces(&body), body.chunks(1).collect());
    let found = inspected(&[&body]);
    assert_eq!(inspected(&pieces), found);
    assert_eq!(inspected(&bytes), found);
    // Whether a text is Unicode is the service's to judge: other bytes stand in for what is none.
    let readable = unicode(&body);
    compare(&found, &readable);
    assert_eq!(found.edit.is_some(), should_edit(&readable), "{found:?}");
    if let Some(edit) = found.edit {
        let edited = applied(&edit, &[&body]);
        assert_eq!(applied(&edit, &pieces), edited);
        assert_eq!(applied(&edit, &bytes), edited);
        one_place_differs(&edit, &body, &edited);
        one_field_is_new(&readable, &unicode(&edited));
    }
});

fn inspected(pieces: &[&[u8]]) -> Inspected {
    let mut inspection = Inspection::default();
    pieces.iter().for_each(|piece| inspection.push(piece));
    inspection.finish()
}

fn applied(edit: &Edit, pieces: &[&[u8]]) -> Vec<u8> {
    let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    edit.apply(&pieces).concat()
}

/// The same bytes with `?` for each that is part of no character.
fn unicode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), b'?');
    }
    text
}

/// What the body says of itself, if everybody reads it: one object, not too deep, no endless numbers.
fn plain(body: &[u8]) -> Option<Members<'_>> {
    let members = Members::of(body)?;
    let (mut depth, mut deepest, mut run, mut longest) = (0, 0, 0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
        let in_scalar = !in_text && (byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
        run = if in_scalar { run + 1 } else { 0 };
        (deepest, longest) = (deepest.max(depth), longest.max(run));
    }
    (deepest <= DEPTH_MAX && longest < TOKEN_BYTES_MAX).then_some(members)
}

fn should_edit(body: &[u8]) -> bool {
    let Some(members) = plain(body) else { return false };
    let options = members.named("stream_options");
    members.named("stream") == ["true"]
        && members.named("data_sources").iter().all(|value| *value == "null")
        && match options[..] {
            [] | ["null"] => true,
            [options] => does_not_ask(options),
            _ => false,
        }
}

fn does_not_ask(options: &str) -> bool {
    let Some(options) = Members::of(options.as_bytes()) else { return false };
    matches!(options.named("include_usage")[..], [] | ["null" | "false"])
}

fn compare(found: &Inspected, body: &[u8]) {
    let members = plain(body);
    assert_eq!(found.readable, members.is_some());
    let Some(members) = members else { return };
    let given = |name: &str, no: &[&str]| members.named(name).iter().any(|value| !no.contains(value));
    assert_eq!(found.may_stream, given("stream", &["false", "null"]));
    assert_eq!(found.data_sources, given("data_sources", &["null"]));
    assert_eq!(found.images, has_image(body));
    // One that stands there twice, and one with half of a pair of characters, is not looked at.
    if let [model] = members.named("model")[..]
        && let Ok(model) = serde_json::from_str::<Value>(model)
        && serde_json::to_string(&model).is_ok_and(|text| text.len() < TOKEN_BYTES_MAX / 6)
        && !body.contains(&b'?')
    {
        assert_eq!(found.model.as_deref(), model.as_str());
    }
}

/// There is a member `image_url` on some level.
fn has_image(value: &[u8]) -> bool {
    if let Some(Members(members)) = Members::of(value) {
        return members
            .iter()
            .any(|(key, value)| is_named(key, "image_url") || has_image(value.get().as_bytes()));
    }
    let elements = serde_json::from_slice::<Vec<&RawValue>>(value).unwrap_or_default();
    elements.iter().any(|element| has_image(element.get().as_bytes()))
}

/// All but what was put in, and what made room for it, is where and what it was.
fn one_place_differs(edit: &Edit, body: &[u8], edited: &[u8]) {
    let (before, rest) = body.split_at(edit.at);
    let (cut, behind) = rest.split_at(edit.cut);
    assert!(matches!(cut, b"" | b"null" | b"false"), "{edit:?}");
    assert_eq!([before, edit.insert.as_bytes(), behind].concat(), edited);
}

/// The edited body is the same JSON, but that it asks for usage, and so is not edited again.
fn one_field_is_new(body: &[u8], edited: &[u8]) {
    let (before, after) = (plain(body).unwrap(), plain(edited).unwrap());
    let [options] = after.named("stream_options")[..] else { panic!("no options") };
    assert_eq!(Members::of(options.as_bytes()).unwrap().named("include_usage"), ["true"]);
    assert!(!should_edit(edited));
    assert_eq!(after.except("stream_options"), before.except("stream_options"));
    // With half of a pair of characters, or a number beyond all bounds, it is only passed over.
    if let Ok(mut expected) = serde_json::from_slice::<Value>(body) {
        let options = &mut expected["stream_options"];
        if options.is_null() {
            *options = json!({});
        }
        options["include_usage"] = json!(true);
        // As text: the order of members counts too.
        let edited: Value = serde_json::from_slice(edited).unwrap();
        assert_eq!(edited.to_string(), expected.to_string());
    }
}
