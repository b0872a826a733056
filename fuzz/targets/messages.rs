//! An Anthropic message, as a document or as a stream, costs what a second reader finds in it with serde_json by the
//! rules of its `usage`; in any pieces, with any bounds, and whenever the count is given up.
#![no_main]

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use metering::api::last_event;
use metering::caller::{Caller, Trust};
use metering::meter::{Bounds, Ending, Meter, Rules};
use metering::usage::{Api, Source, Target, Usage};
use serde_json::{Map, Value};
use tokenweir_fuzz::{Cuts, spelled};

/// The words that the first control characters stand for.
const WORDS: [&str; 25] = [
    "{\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{",
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{",
    "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"",
    "{\"type\":\"message_stop\"}",
    "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
    "{\"type\":\"ping\"}",
    "{\"id\":\"m\",\"usage\":{",
    "\"input_tokens\":",
    "\"output_tokens\":",
    "\"cache_read_input_tokens\":",
    "\"cache_creation_input_tokens\":",
    "\"cache_creation\":{\"ephemeral_1h_input_tokens\":",
    "\"output_tokens_details\":{\"thinking_tokens\":",
    "\"server_tool_use\":{\"web_search_requests\":",
    "\"web_fetch_requests\":",
    "\"iterations\":[{",
    "\"type\":\"message\",",
    "\"type\":\"advisor_message\",\"model\":\"claude-y\",",
    "},{",
    "}]",
    "null",
    "1e2",
    "}}",
    "\"new_tokens\":1,",
    concat!(
        "\"x\":\"",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "                                                                                                ",
        "\","
    ),
];

/// Entries of `iterations` of which all are read.
const ITERATIONS_MAX: usize = 127;
/// Entries of the event's `tools`.
const TOOLS_MAX: usize = 8;
/// Events up to this size are held.
const SHORT_EVENT_BYTES_MAX: usize = 4 << 10;
/// A count over this is none.
const PLAUSIBLE_MAX: u64 = 1_000_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let (mut cuts, text) = Cuts::take(rest);
    let text = spelled(text, &WORDS);
    let stream = kind & 1 == 0;
    let body = if stream { framed(&text) } else { text.clone() };
    let pieces = cuts.pieces(&body);
    let metered = |pieces: &[&[u8]], bounds, given_up| metered(stream, pieces, bounds, given_up);
    let whole = metered(&[&body], Bounds::default(), usize::MAX);
    assert_eq!(metered(&pieces, Bounds::default(), usize::MAX), whole);
    let second = if stream { read_stream(&text) } else { read_document(&text) };
    if let Some(second) = &second {
        agrees(&whole, second);
    }
    // A document that ends in its middle, or a member that is malformed, may be told by the one and not by the other.
    if second.is_some() && whole.stream.parse_errors == 0 {
        let bounds =
            Bounds { event_bytes: usize::from(kind / 2 % 64), document_bytes: usize::from(kind / 2 % 64) };
        let given_up = usize::from(kind / 2 % 16);
        for other in [metered(&pieces, bounds, usize::MAX), metered(&pieces, Bounds::default(), given_up)] {
            // White space that is none in JSON is cut off from an event that is held.
            if other.stream.parse_errors == 0 {
                assert_eq!(reported(&other), reported(&whole));
            }
        }
    }
});

/// All but the reasons: those may say that the reading was given up.
fn reported(event: &Usage) -> impl PartialEq + std::fmt::Debug {
    let Usage { tokens, tools, units, accounting, stream, request, target, .. } = event;
    let numbers = [accounting.reported_input, accounting.reported_output];
    (tokens, tools, units, numbers, stream, &request.error_type, target)
}

/// Each line is an event.
fn framed(text: &[u8]) -> Vec<u8> {
    lines(text).flat_map(|line| [b"data: ", line, b"\n\n"].concat()).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b'\n' | b'\r'))
}

/// Before the piece `given_up` the count is given up.
fn metered(stream: bool, pieces: &[&[u8]], bounds: Bounds, given_up: usize) -> Usage {
    let target = Target { api: Api::Messages, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let mut meter = Meter::new(draft, Rules { end_of_turn: true }).holding(bounds);
    meter.request_bytes(br#"{"model":"claude-team","max_tokens":9,"messages":[]}"#);
    meter.request_end();
    let kind = HeaderValue::from_static(if stream { "text/event-stream" } else { "application/json" });
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, kind)]));
    for (nth, piece) in pieces.iter().enumerate() {
        if nth == given_up {
            meter.skim();
        }
        let mut rest = *piece;
        while !rest.is_empty() {
            rest = &rest[meter.response_bytes(rest, usize::MAX)..];
        }
    }
    assert!(meter.memory_bytes() <= SHORT_EVENT_BYTES_MAX, "nothing is kept to be counted");
    meter.settle(Ending::Eof)
}

/// The numbers of one usage, or of one entry of its iterations.
#[derive(Clone, Copy, Debug, Default)]
struct Split([Option<u64>; 5]);

const NAMES: [&str; 4] =
    ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"];
const OUTPUT: usize = 3;
const LONG: usize = 4;

impl Split {
    /// `None`: one of its numbers cannot be one.
    fn of(object: &Map<String, Value>) -> Option<Split> {
        let mut split = Split::default();
        for (slot, name) in split.0.iter_mut().zip(NAMES) {
            let value = object.get(name).unwrap_or(&Value::Null);
            *slot = count(value);
            if value.is_number() && slot.is_none() {
                return None;
            }
        }
        let by_age = object.get("cache_creation").and_then(Value::as_object);
        split.0[LONG] = by_age.and_then(|ages| count(ages.get("ephemeral_1h_input_tokens")?));
        Some(split)
    }

    fn join(self, other: Split, join: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> Split {
        let mut joined = self;
        joined.0.iter_mut().zip(other.0).for_each(|(slot, other)| *slot = join(*slot, other));
        joined
    }

    fn input(&self) -> Option<u64> {
        let parts: Vec<u64> = self.0[..OUTPUT].iter().flatten().copied().collect();
        (!parts.is_empty()).then(|| parts.iter().sum())
    }
}

fn count(value: &Value) -> Option<u64> {
    let exact = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..1e13).contains(number));
    value.as_u64().or(exact.map(|number| number as u64)).filter(|number| *number <= PLAUSIBLE_MAX)
}

/// The message as the second reader has it so far.
#[derive(Debug, Default)]
struct Message {
    own: Split,
    thinking: Option<u64>,
    searches: Option<u64>,
    fetches: Option<u64>,
    iterations: Option<(Option<Split>, Vec<Split>)>,
    /// The numbers of the last usage that had any.
    last: Option<Numbers>,
    whole: bool,
    failed: bool,
}

/// Input, output, what was read and written, written for long, and thought.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Numbers([Option<u64>; 6]);

impl Message {
    /// The next word on its usage; `None`: more than is to be read.
    fn usage(&mut self, usage: Option<&Value>) -> Option<()> {
        let Some(Value::Object(usage)) = usage else { return Some(()) };
        let (own, iterations) = (Split::of(usage), iterations(usage.get("iterations"))?);
        let (Some(own), Some(iterations)) = (own, iterations) else { return Some(()) };
        self.own = own.join(self.own, Option::or);
        let below = |object: &str, name: &str| count(usage.get(object)?.as_object()?.get(name)?);
        self.thinking = below("output_tokens_details", "thinking_tokens").or(self.thinking);
        self.searches = below("server_tool_use", "web_search_requests").or(self.searches);
        self.fetches = below("server_tool_use", "web_fetch_requests").or(self.fetches);
        if iterations.0.is_some() || !iterations.1.is_empty() {
            self.iterations = Some(iterations);
        }
        let sums = self.iterations.as_ref().and_then(|(own, _)| *own).unwrap_or_default();
        let all = sums.join(self.own, Option::or);
        let (input, output) = (sums.input().or(self.own.input()), all.0[OUTPUT]);
        if input > Some(0) || output > Some(0) {
            self.last = Some(Numbers([input, output, all.0[1], all.0[2], all.0[LONG], self.thinking]));
        }
        Some(())
    }
}

type Iterations = (Option<Split>, Vec<Split>);

/// The sums over the message's own iterations, and those of advisors. The outer `None`: more than are read; the
/// inner: a number in them cannot be one.
fn iterations(list: Option<&Value>) -> Option<Option<Iterations>> {
    let plus = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b).or(a).or(b);
    let (mut own, mut advisors) = (None::<Split>, Vec::new());
    let list: Vec<_> =
        list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect();
    if list.len() > ITERATIONS_MAX {
        return None;
    }
    for entry in list {
        let Some(split) = Split::of(entry) else { return Some(None) };
        if entry.get("type").and_then(Value::as_str) == Some("advisor_message") {
            advisors.push(split);
        } else {
            own = Some(own.unwrap_or_default().join(split, plus));
        }
    }
    Some(Some((own, advisors)))
}

/// `None`: not all of it is JSON.
fn read_stream(text: &[u8]) -> Option<Message> {
    let mut message = Message::default();
    for line in lines(text).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if line == b"[DONE]" {
            message.whole = true;
            return Some(message);
        }
        let Ok(Value::Object(event)) = serde_json::from_slice(line) else { return None };
        match event.get("type").and_then(Value::as_str) {
            Some("message_start") => {
                message.usage(event.get("message").and_then(|message| message.get("usage")))?;
            }
            Some("message_delta") => message.usage(event.get("usage"))?,
            Some("content_block_start" | "content_block_delta") => {}
            kind => {
                message.failed |= kind == Some("error")
                    || matches!(event.get("error"), Some(Value::Object(_) | Value::String(_)));
                message.whole |= kind.is_some_and(|kind| last_event(kind.as_bytes()).is_some());
            }
        }
        if message.whole {
            return Some(message);
        }
    }
    Some(message)
}

fn read_document(text: &[u8]) -> Option<Message> {
    let Ok(Value::Object(document)) = serde_json::from_slice(text) else { return None };
    let failed = document.get("type").and_then(Value::as_str) == Some("error")
        || matches!(document.get("error"), Some(Value::Object(_) | Value::String(_)));
    let mut message = Message { whole: true, failed, ..Message::default() };
    message.usage(document.get("usage"))?;
    Some(message)
}

/// The event says what the second reader has found.
fn agrees(event: &Usage, message: &Message) {
    let (tokens, accounting) = (&event.tokens, &event.accounting);
    assert_eq!((accounting.computed_input, tokens.total), (None, None), "nothing is computed");
    let Some(Numbers(numbers)) = message.last else {
        return assert_eq!((accounting.reported_input, accounting.reported_output), (None, None));
    };
    assert_eq!([accounting.reported_input, accounting.reported_output], numbers[..2]);
    assert_eq!(
        [
            tokens.input_cached,
            tokens.input_cache_write,
            tokens.input_cache_write_long,
            tokens.output_reasoning
        ],
        numbers[2..]
    );
    if numbers[0].is_some() {
        assert_eq!((tokens.input, accounting.input_source), (numbers[0], Source::Reported));
    }
    let known = |units: Option<u64>| units.filter(|units| *units > 0 || (message.whole && !message.failed));
    assert_eq!(
        (event.units.web_searches, event.units.web_fetches),
        (known(message.searches), known(message.fetches))
    );
    let advisors = message.iterations.as_ref().map_or(&[][..], |(_, advisors)| advisors);
    if advisors.len() <= TOOLS_MAX {
        let inputs = advisors.iter().filter_map(Split::input).sum::<u64>();
        assert_eq!(event.tools.iter().filter_map(|tool| tool.input).sum::<u64>(), inputs);
    }
}
