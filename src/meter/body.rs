//! From the bytes of a response body to the answer: events of a stream, or one JSON document.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::answer::Answer;
use super::ends::{self, Last};
use super::items::Place;
use super::shape::Shape as EventShape;
use crate::chunk::{AnswerScan, Chunk, Event, EventKind, Malformed, Response};
use crate::sse;
use crate::usage::Api;

/// Bytes of a JSON body that are kept to be read at its end. Of a longer one only the top level is
/// looked at as it passes. Answers of 100,000 tokens have some 500 kB. Embeddings can have a hundred
/// megabytes, but nothing counts of them except `model` and `usage`: none of them is ever kept.
const JSON_BYTES_MAX: usize = 4 << 20;

/// No piece that is shown on the data path is longer: what is kept of a document is read there at once
/// only if this much more would be too much.
const LAST_PIECE_BYTES_MAX: usize = 64 << 10;

/// Bytes that must tell what a body is.
const SNIFF_BYTES_MAX: usize = 64;

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body {
    shape: Shape,
    pub(super) seen: Seen,
}

/// What has been seen of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its choices are read and counted.
    metered: bool,
    /// It has items, not choices: they are read and counted.
    items: bool,
    /// It must be readable; the text of an error may be anything.
    expected: bool,
    /// Of a JSON body only the top level matters.
    top_only: bool,
    /// No event is known to be the last of a stream: it ends where its framing does.
    unmarked: bool,
    pub(super) answer: Answer,
    last_chunk: EventShape<u64>,
    last_delta: EventShape<Place>,
    /// The end marker of a stream, or the whole of a document.
    pub(super) whole: bool,
    /// `[DONE]`, or the API's own last event.
    pub(super) done: bool,
    /// Events with data.
    pub(super) events: u64,
    /// Events or bodies that could not be read.
    pub(super) parse_errors: u64,
    /// A part too long for its text to be read.
    pub(super) too_long: bool,
}

#[derive(Debug)]
enum Shape {
    /// Its first bytes, which must tell.
    Unknown(Vec<u8>),
    Events(sse::Decoder),
    Json(Vec<u8>),
    LongJson(Box<AnswerScan>),
    /// Audio, subtitles, nothing that we can read.
    Opaque,
}

impl Body {
    /// A body with these headers. `stream`: the request asked for a stream.
    pub(super) fn new(api: Api, status: StatusCode, headers: &HeaderMap, stream: bool) -> Body {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let content_type = content_type.split(';').next().unwrap_or("").trim();
        let is = |known: &str| content_type.eq_ignore_ascii_case(known);
        let suffix = content_type.rsplit_once('+').map_or("", |(_, suffix)| suffix);
        let json = is("application/json") || suffix.eq_ignore_ascii_case("json");
        let top_only = api == Api::Embeddings && status.is_success();
        let shape = if is("text/event-stream") {
            Shape::Events(sse::Decoder::default())
        } else if (stream && status.is_success()) || content_type.is_empty() {
            // Some gateways lose the type of a stream, or call it JSON.
            Shape::Unknown(Vec::new())
        } else if json || !status.is_success() {
            Shape::json(top_only)
        } else if is("application/octet-stream") {
            Shape::Unknown(Vec::new())
        } else {
            Shape::Opaque
        };
        let metered = matches!(api, Api::ChatCompletions | Api::Completions);
        let known = matches!(api, Api::Completions | Api::Embeddings | Api::Responses);
        let expected = (metered || known) && status.is_success();
        let items = api == Api::Responses;
        let unmarked = !ends::has_marker(api);
        let seen = Seen { metered, items, expected, top_only, unmarked, ..Seen::default() };
        Body { shape, seen }
    }

    /// It is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.shape, Shape::Events(_))
    }

    /// Only the top level of a document is looked at.
    pub(super) fn is_skimmed(&self) -> bool {
        matches!(self.shape, Shape::LongJson(_))
    }

    /// Bytes that [`Body::finish`] has yet to read.
    pub(super) fn unread_bytes(&self) -> usize {
        match &self.shape {
            Shape::Json(kept) => kept.len(),
            Shape::Events(decoder) => decoder.held_bytes(),
            Shape::Unknown(_) | Shape::LongJson(_) | Shape::Opaque => 0,
        }
    }

    /// Bytes that the next piece may make it read at once: those of an event that the piece may end,
    /// or of a document that it may make too long to be kept.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.shape {
            Shape::Json(kept) if kept.len() + LAST_PIECE_BYTES_MAX <= JSON_BYTES_MAX => 0,
            _ => self.unread_bytes(),
        }
    }

    /// Lets go of what [`Body::finish`] would have read: nobody has the time.
    pub(super) fn forget_unread(&mut self) {
        self.shape = Shape::Opaque;
    }

    /// The next decoded bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.shape {
            Shape::Unknown(start) => {
                start.extend_from_slice(bytes);
                let Some(shape) = sniff(start, self.seen.top_only) else { return };
                let start = std::mem::take(start);
                self.shape = shape;
                self.push(&start);
            }
            Shape::Events(decoder) => decoder.push(bytes, |event| self.seen.event(event, true)),
            Shape::Json(kept) if kept.len() + bytes.len() > JSON_BYTES_MAX => {
                let mut scan = AnswerScan::default();
                scan.push(kept);
                scan.push(bytes);
                self.seen.too_long = true;
                self.shape = Shape::LongJson(Box::new(scan));
            }
            Shape::Json(kept) => kept.extend_from_slice(bytes),
            Shape::LongJson(scan) => scan.push(bytes),
            Shape::Opaque => {}
        }
    }

    /// The body has ended; `cleanly`: where its framing says that it ends.
    pub(super) fn finish(&mut self, cleanly: bool) {
        let seen = &mut self.seen;
        match &mut self.shape {
            Shape::Unknown(_) | Shape::Opaque => {
                seen.whole = cleanly;
                seen.parse_errors += u64::from(cleanly && seen.expected);
            }
            Shape::Events(decoder) => {
                // An event without its blank line is no event to a client, but the service sent it. That
                // it is cut in the middle is no error of the service.
                decoder.finish(|event| seen.event(event, false));
                seen.whole |= cleanly && seen.unmarked;
                seen.parse_errors += decoder.skipped();
                seen.too_long |= decoder.skipped() > 0;
            }
            Shape::Json(kept) => seen.document(&std::mem::take(kept), cleanly),
            Shape::LongJson(scan) => {
                seen.whole = scan.complete();
                seen.parse_errors += u64::from(cleanly && seen.expected && !seen.whole);
                seen.scanned(scan);
            }
        }
    }
}

impl Shape {
    /// A JSON body of which nothing has been read.
    fn json(top_only: bool) -> Shape {
        if top_only { Shape::LongJson(Box::default()) } else { Shape::Json(Vec::new()) }
    }
}

impl Seen {
    fn event(&mut self, event: sse::Event<'_>, strict: bool) {
        if self.done {
            return;
        }
        self.events += 1;
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            (self.done, self.whole) = (true, true);
            return;
        }
        let read = if self.items { self.item_event(&event, data) } else { self.chunk(&event, data) };
        if event.name == b"error" && self.answer.error.is_none() {
            self.answer.fail(&Chunk::parse(data).map(|chunk| chunk.failure()).unwrap_or_default());
        }
        self.parse_errors += u64::from(strict && read.is_err());
        self.answer.event_read(data.len());
    }

    /// A chunk of a chat, or an event of an API that is not computed.
    fn chunk(&mut self, event: &sse::Event<'_>, data: &[u8]) -> Result<(), Malformed> {
        if event.name.is_empty()
            && let Some((choice, text)) = self.last_chunk.text(data)
        {
            self.answer.more_content(choice, text);
            return Ok(());
        }
        let chunk = Chunk::parse(data)?;
        let read = self.answer.feed(&chunk, self.metered);
        self.last_event(&chunk);
        if self.metered && event.name.is_empty() && read.is_ok() {
            self.last_chunk.learn_chunk(data, &chunk);
        }
        read
    }

    /// An event of a Responses answer.
    fn item_event(&mut self, event: &sse::Event<'_>, data: &[u8]) -> Result<(), Malformed> {
        let is_error = event.name == b"error";
        if !is_error && let Some((place, text)) = self.last_delta.text(data) {
            self.answer.more_text(place, text);
            return Ok(());
        }
        let item_event = Event::parse(data)?;
        let kind = item_event.kind();
        if let Some(place) = self.answer.feed_event(&item_event)? {
            if !is_error {
                self.last_delta.learn_event(data, place, &item_event);
            }
            return Ok(());
        }
        if !matches!(kind, EventKind::Response | EventKind::Last | EventKind::Other) {
            return Ok(());
        }
        // The model's name first: it says how to count.
        let chunk = Chunk::parse(data)?;
        self.answer.feed(&chunk, false)?;
        self.last_event(&chunk);
        match item_event.response()? {
            Some(response) => self.answer.feed_response(&response, kind == EventKind::Last),
            None => Ok(()),
        }
    }

    /// APIs other than chat name their last event, which carries `usage`.
    fn last_event(&mut self, chunk: &Chunk<'_>) {
        let Some(kind) = chunk.kind else { return };
        let kind = kind.key();
        let last = ends::last(&kind);
        self.answer.progressed |= !self.metered && !self.items && ends::is_progress(&kind);
        if let Some(response) = chunk.response() {
            // Its `error` is the only part that can be malformed here, and it is optional.
            _ = self.answer.feed(&response, false);
            if last == Some(Last::Failed) {
                self.answer.fail(&response.failure());
            }
        } else if last == Some(Last::Failed) {
            self.answer.fail(&chunk.failure());
        }
        if last.is_some() {
            (self.done, self.whole) = (true, true);
        }
    }

    fn document(&mut self, kept: &[u8], cleanly: bool) {
        match Chunk::parse(kept) {
            Ok(chunk) => {
                self.whole = true;
                let mut read = self.answer.feed(&chunk, self.metered);
                if self.items {
                    read =
                        Response::parse(kept).and_then(|response| self.answer.feed_response(&response, true));
                }
                self.parse_errors += u64::from(read.is_err());
            }
            Err(_) => {
                self.parse_errors += u64::from(cleanly && self.expected);
                let mut scan = AnswerScan::default();
                scan.push(kept);
                self.scanned(&scan);
            }
        }
    }

    /// What a document says that is too long, or cut.
    fn scanned(&mut self, scan: &AnswerScan) {
        self.answer.name(scan.id(), scan.model(), scan.service_tier());
        self.answer.charge(scan.charges(), 0, true);
    }
}

/// What a body is, by its first bytes; `None` if more are needed.
fn sniff(start: &[u8], top_only: bool) -> Option<Shape> {
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    let events = [&b"data:"[..], b"event:", b":", b"id:", b"retry:"];
    if events.iter().any(|field| text.starts_with(field)) {
        return Some(Shape::Events(sse::Decoder::default()));
    }
    let open = text.is_empty() || events.iter().any(|field| field.starts_with(text));
    if open && start.len() <= SNIFF_BYTES_MAX {
        return None;
    }
    Some(if text.starts_with(b"{") { Shape::json(top_only) } else { Shape::Opaque })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose deltas differ in text, number and padding is parsed once, then recognised.
    #[test]
    fn deltas_of_a_response_are_recognised() {
        let delta = |number: u32, text: &str, padding: &str| {
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\
                 \"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\",\"logprobs\":[],\
                 \"obfuscation\":\"{padding}\"}}\n\n"
            )
        };
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "text/event-stream".parse().unwrap())]);
        let mut body = Body::new(Api::Responses, StatusCode::OK, &headers, true);
        body.push(delta(4, "Hello", "abc").as_bytes());
        for (number, text, padding) in [(5, " world", ""), (10, "", "x"), (100, "!", "a long one")] {
            let event = delta(number, text, padding);
            let data = event.split("data: ").nth(1).unwrap().trim_end();
            assert!(body.seen.last_delta.text(data.as_bytes()).is_some(), "{data}");
            body.push(event.as_bytes());
        }
        body.push(delta(101, "a\\n", "").as_bytes());
        body.push(delta(102, "b", "").as_bytes());
        let texts: Vec<_> = body.seen.answer.items.parts().map(|part| part.text.bytes()).collect();
        assert_eq!((texts, body.seen.events), (vec!["Hello world!a\nb".len() as u64], 6));
    }
}
