//! A stream in any pieces goes on as the same bytes: all of them, or all but one whole event, the first
//! that carries the usage as serde_json and the standard of events (WHATWG HTML, 9.2) read it. Nothing
//! waits but the event that is being read.
#![no_main]

use std::ops::Range;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metering::chunk::HideUsage;
use serde_json::value::RawValue;
use tokenweir_fuzz::{Cuts, Members, is_named, spelled};

/// What the first control characters stand for.
const WORDS: [&str; 25] = [
    "data: {\"choices\":[],\"usage\":{\"x\":1}}",
    "data: {\"id\":\"c\",\"usage\":{},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}",
    "data: [DONE]",
    "data: ",
    "data:",
    "event: e",
    "id",
    "retry: 1",
    ": comment",
    "\r\n",
    "\r\n\r\n",
    "\r\r",
    "\n\n",
    "\u{feff}",
    "\"choices\":[]",
    "\"usage\":{\"prompt_tokens\":3,\"a\":{\"b\":{\"c\":[\"]\"]}}}",
    "\"usage\":null",
    "\"ch\\u006fices\":[]",
    "\"prompt_filter_results\":[]",
    "\"error\":null",
    "\"x\":\"\\\"}\",",
    "\"x\":{\"choices\":[],\"usage\":{}}",
    "{",
    "}",
    concat!(
        "\"x\":\"",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "\","
    ),
];

/// A longer event goes on.
const EVENT_BYTES_MAX: usize = 16 * 1024;

/// Up to this length a stream is also cut everywhere.
const SMALL_BYTES_MAX: usize = 512;

fuzz_target!(|input: &[u8]| {
    let (mut cuts, text) = Cuts::take(input);
    let stream = spelled(text, &WORDS);
    let events = events(&stream);
    let passed = Passed::of(&[&stream]);
    let hidden = hidden(&stream, &events, &passed.bytes);
    let small = if stream.len() > SMALL_BYTES_MAX { 97 } else { 1 };
    for pieces in [cuts.pieces(&stream), stream.chunks(small).collect()] {
        let again = Passed::of(&pieces);
        assert_eq!(again.bytes, passed.bytes);
        again.waits_for_one_event(&events, hidden.as_ref());
    }
});

/// What goes on of a stream.
struct Passed {
    bytes: Vec<u8>,
    /// How many bytes had gone on after so many had come.
    gone: Vec<(usize, usize)>,
}

impl Passed {
    fn of(pieces: &[&[u8]]) -> Passed {
        let (mut hide, mut bytes, mut come, mut gone) = (HideUsage::default(), Vec::new(), 0, Vec::new());
        for piece in pieces {
            hide.push(&Bytes::copy_from_slice(piece), |out| {
                assert!(!out.is_empty());
                bytes.extend_from_slice(&out);
            });
            come += piece.len();
            gone.push((come, bytes.len()));
        }
        bytes.extend_from_slice(&hide.finish());
        assert!(hide.finish().is_empty(), "more is held after the end");
        Passed { bytes, gone }
    }

    fn waits_for_one_event(&self, events: &[Event], hidden: Option<&Range<usize>>) {
        for &(come, gone) in &self.gone {
            // The event that has begun last, if its blank line has not come whole.
            let last = events[..events.partition_point(|event| event.place.start < come)].last();
            let open = last.filter(|event| come < event.place.end || !event.ended);
            let begin = open.map_or(come, |event| event.place.start);
            let missing = hidden.map_or(0, |hidden| hidden.end.min(begin).saturating_sub(hidden.start));
            assert!(gone + missing >= begin, "{gone} of {come} bytes");
            assert!(come - gone <= EVENT_BYTES_MAX + "\n".len() + missing);
        }
    }
}

/// The piece that is missing, which is one that may be.
fn hidden(stream: &[u8], events: &[Event], passed: &[u8]) -> Option<Range<usize>> {
    for event in events {
        let Range { start, end } = event.place;
        let without = || passed == [&stream[..start], &stream[end..]].concat();
        match event.is_usage() {
            Some(true) => {
                assert!(without(), "{:?} did not become {:?}", text(stream), text(passed));
                return Some(event.place.clone());
            }
            None if without() => return Some(event.place.clone()),
            _ => {}
        }
    }
    assert!(passed == stream, "{:?} became {:?}", text(stream), text(passed));
    None
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands between two blank lines, from its first field on.
struct Event {
    /// With its blank line.
    place: Range<usize>,
    /// The blank line has come.
    ended: bool,
    /// The lines without their ends.
    lines: Vec<Vec<u8>>,
    /// Bytes of it, without an LF that follows the CR of its blank line.
    bytes: usize,
}

/// The events of a whole stream, and the one that its end leaves.
fn events(stream: &[u8]) -> Vec<Event> {
    let mut at = if stream.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let (mut events, mut event) = (Vec::new(), None::<Event>);
    while at < stream.len() {
        let start = at;
        let rest = &stream[start..];
        let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &rest[..length.unwrap_or(rest.len())];
        let end = &rest[line.len()..];
        let end_bytes = if end.starts_with(b"\r\n") { 2 } else { end.len().min(1) };
        at = start + line.len() + end_bytes;
        if event.is_none() && !line.is_empty() && line[0] != b':' {
            event = Some(Event { place: start..at, ended: false, lines: Vec::new(), bytes: 0 });
        }
        let Some(open) = &mut event else { continue };
        open.place.end = at;
        open.lines.push(line.to_vec());
        if line.is_empty() {
            open.ended = true;
            open.bytes = start + 1 - open.place.start;
            events.extend(event.take());
        }
    }
    events.into_iter().chain(event).collect()
}

impl Event {
    /// It is the one with the usage; `None` if that depends on how much one lets pass for JSON.
    fn is_usage(&self) -> Option<bool> {
        let mut data = Vec::new();
        for line in &self.lines {
            match line.iter().position(|byte| *byte == b':') {
                Some(0) => {}
                Some(4) if line.starts_with(b"data") => {
                    data.extend_from_slice(&line[5..]);
                    data.push(b'\n');
                }
                Some(colon) if [&b"event"[..], b"id", b"retry"].contains(&&line[..colon]) => {}
                // A field without a value says nothing, whichever it is.
                None if [&b"data"[..], b"event", b"id", b"retry"]
                    .iter()
                    .any(|name| name.starts_with(line)) => {}
                _ => return Some(false),
            }
        }
        if !self.ended || self.bytes > EVENT_BYTES_MAX {
            return Some(false);
        }
        let Some(members) = Members::of(&data) else {
            return if may_be_an_object(&data) { None } else { Some(false) };
        };
        let all = |name: &str, fits: fn(&str) -> bool| {
            let values = members.named(name);
            !values.is_empty() && values.into_iter().all(fits)
        };
        Some(
            all("choices", |choices| choices == "null" || elements_fit(choices, says_nothing))
                && all("usage", |usage| usage.starts_with('{'))
                && members.named("error").is_empty(),
        )
    }
}

/// It is a list whose entries all are like this.
fn elements_fit(list: &str, fits: fn(&str) -> bool) -> bool {
    serde_json::from_str::<Vec<&RawValue>>(list).is_ok_and(|list| list.iter().all(|entry| fits(entry.get())))
}

/// A choice without text, reason to finish or anything that nobody knows.
fn says_nothing(choice: &str) -> bool {
    let Some(Members(members)) = Members::of(choice.as_bytes()) else { return choice == "null" };
    members.iter().all(|(key, value)| {
        let (is, value) = (|name: &str| is_named(key, name), value.get());
        let beside = ["index", "content_filter_result", "content_filter_results", "content_filter_offsets"];
        value == "null"
            || beside.into_iter().any(is)
            || (is("text") && value == "\"\"")
            || (is("delta") && Members::of(value.as_bytes()).is_some_and(|delta| delta_says_nothing(&delta)))
    })
}

fn delta_says_nothing(delta: &Members<'_>) -> bool {
    delta.0.iter().all(|(key, value)| {
        let text = ["content", "refusal", "reasoning_content"].iter().any(|name| is_named(key, name));
        value.get() == "null" || (text && value.get() == "\"\"")
    })
}

/// Its brackets are those of one object.
fn may_be_an_object(data: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    let data = data.trim_ascii();
    for (at, byte) in data.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 && at + 1 < data.len() {
            return false;
        }
    }
    depth == 0 && !data.is_empty()
}
