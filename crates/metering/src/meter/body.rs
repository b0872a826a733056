//! From the bytes of a response body to the answer: events of a stream, or one JSON document.
//!
//! What is short enough is held and read as a whole, without its `logprobs` ([`Slim`]). What is longer, and all
//! of a body of which nothing is counted, is read as it passes, in constant memory and by the same readers:
//! see [`Gist`].

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::seen::{Reading, Seen};
use crate::chunk::{Gist, Slim};
use crate::sse;
use crate::usage::Api;

/// How much of an answer is held to be read as a whole, `logprobs` aside. What is longer is not counted, but
/// what it reports is read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one event of a stream.
    pub event_bytes: usize,
    /// Bytes of a JSON body. Answers of 100,000 tokens have some 500 kB.
    pub document_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        // The last event of a Responses stream repeats the whole answer, and it is the one with `usage`.
        Bounds { event_bytes: 4 << 20, document_bytes: 4 << 20 }
    }
}

impl Bounds {
    /// Nothing is held.
    const NONE: Bounds = Bounds { event_bytes: 0, document_bytes: 0 };

    /// What reads events: it holds the short ones, and shows the others in parts.
    fn decoder(self) -> sse::Decoder {
        sse::Decoder::holding(self.event_bytes.min(sse::EVENT_BYTES_UNSHOWN_MAX))
    }
}

/// A document of which more is held than this is also read as it passes. So it can be let go of at any time.
const DOCUMENT_BYTES_UNREAD_MAX: usize = Slim::AS_IT_IS_BYTES_MAX;

/// White space in front of a body that is held; nobody sends any.
const SNIFF_BYTES_MAX: usize = 64;

/// A byte order mark.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body {
    shape: Shape,
    pub(super) seen: Seen,
    bounds: Bounds,
}

#[derive(Debug)]
enum Shape {
    Unknown(Unknown),
    Events(sse::Decoder),
    Json(Document),
    LongJson(Box<Gist>),
    /// Audio, subtitles, nothing that we can read.
    Opaque,
}

/// A body whose first bytes must tell what it is.
#[derive(Clone, Debug)]
struct Unknown {
    /// Not yet shown to `lines`.
    start: Vec<u8>,
    /// The white space before that, as the lines that it would be of a stream.
    lines: sse::Decoder,
    /// There was some.
    is_spaced: bool,
    /// It is called a stream of events: what is no JSON is one.
    is_stream: bool,
}

/// A JSON body that is held.
#[derive(Debug, Default)]
struct Document {
    slim: Slim,
    /// What has been read of it: nothing while it is short.
    gist: Option<Box<Gist>>,
}

impl Body {
    /// A body with these headers. `stream`: the request asked for a stream.
    pub(super) fn new(
        api: Api,
        status: StatusCode,
        headers: &HeaderMap,
        stream: bool,
        bounds: Bounds,
    ) -> Body {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let content_type = content_type.split(';').next().unwrap_or("").trim();
        let is = |known: &str| content_type.eq_ignore_ascii_case(known);
        let suffix = content_type.rsplit_once('+').map_or("", |(_, suffix)| suffix);
        let json = is("application/json") || suffix.eq_ignore_ascii_case("json");
        let mut seen = Seen::new(api, status);
        // Embeddings, images and the like can have a hundred megabytes, and nothing of them is counted.
        let bounds = if seen.is_counted() || !status.is_success() { bounds } else { Bounds::NONE };
        seen.event_bytes_max = bounds.event_bytes;
        let shape = if is("text/event-stream") {
            // Some services give this name to their documents, if they were asked for a stream.
            Shape::Unknown(Unknown::new(bounds, true))
        } else if (stream && status.is_success()) || content_type.is_empty() {
            // Some gateways lose the type of a stream, or call it JSON.
            Shape::Unknown(Unknown::new(bounds, false))
        } else if json || !status.is_success() {
            Shape::json(bounds)
        } else if is("application/octet-stream") {
            Shape::Unknown(Unknown::new(bounds, false))
        } else {
            Shape::Opaque
        };
        Body { shape, seen, bounds }
    }

    /// It is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        match &self.shape {
            Shape::Events(_) => true,
            Shape::Unknown(unknown) => unknown.is_stream,
            Shape::Json(_) | Shape::LongJson(_) | Shape::Opaque => false,
        }
    }

    /// Its bytes are read at the speed of memchr or copied, and nothing of them is counted before the end.
    pub(super) fn is_light(&self) -> bool {
        match &self.shape {
            Shape::Events(_) | Shape::Unknown(_) => self.bounds == Bounds::NONE,
            Shape::Json(_) | Shape::LongJson(_) | Shape::Opaque => true,
        }
    }

    /// Bytes that [`Body::finish`] has yet to read.
    pub(super) fn unread_bytes(&self) -> usize {
        match &self.shape {
            Shape::Json(document) => document.slim.held().len(),
            Shape::Events(_) => self.held_bytes(),
            Shape::Unknown(_) | Shape::LongJson(_) | Shape::Opaque => 0,
        }
    }

    /// Bytes that the next piece may make it read at once: those of an event that the piece may end.
    pub(super) fn held_bytes(&self) -> usize {
        if let Shape::Events(decoder) = &self.shape {
            decoder.held_bytes() + self.seen.held_event_bytes()
        } else {
            0
        }
    }

    /// Memory that is held, beside what is constant.
    pub(super) fn memory_bytes(&self) -> usize {
        let held_bytes = match &self.shape {
            Shape::Json(document) => document.slim.memory_bytes(),
            Shape::Events(decoder) => decoder.held_bytes(),
            Shape::Unknown(_) | Shape::LongJson(_) | Shape::Opaque => 0,
        };
        held_bytes + self.seen.memory_bytes()
    }

    /// A body at the same point of which nothing more is held and no text counted: it is read on only for
    /// what the answer reports. To make it takes little, however much is held.
    pub(super) fn skimming(&self) -> Body {
        let mut seen = self.seen.skimming();
        let shape = match &self.shape {
            Shape::Unknown(unknown) => {
                let lines = unknown.lines.holding_nothing(&mut Reading { seen: &mut seen, strict: true });
                Shape::Unknown(Unknown { lines, start: unknown.start.clone(), ..*unknown })
            }
            Shape::Events(decoder) => {
                Shape::Events(decoder.holding_nothing(&mut Reading { seen: &mut seen, strict: true }))
            }
            Shape::Json(document) => Shape::LongJson(document.gist()),
            Shape::LongJson(gist) => Shape::LongJson(gist.clone()),
            Shape::Opaque => Shape::Opaque,
        };
        Body { shape, seen, bounds: Bounds::NONE }
    }

    /// The next decoded bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.shape {
            Shape::Unknown(unknown) => {
                let Some(shape) = unknown.push(bytes, self.bounds) else { return };
                let start = std::mem::take(&mut unknown.start);
                self.shape = shape;
                self.push(&start);
            }
            Shape::Events(decoder) => {
                decoder.push(bytes, &mut Reading { seen: &mut self.seen, strict: true });
            }
            Shape::Json(document) => {
                document.push(bytes);
                if document.slim.held().len() > self.bounds.document_bytes {
                    self.seen.too_long |= self.bounds != Bounds::NONE;
                    self.shape = Shape::LongJson(document.gist());
                }
            }
            Shape::LongJson(gist) => gist.push(bytes),
            Shape::Opaque => {}
        }
    }

    /// The body has ended; `cleanly`: where its framing says that it ends.
    pub(super) fn finish(&mut self, cleanly: bool) {
        if let Shape::Unknown(unknown) = &mut self.shape
            && unknown.is_stream
        {
            let start = std::mem::take(&mut unknown.start);
            self.shape = Shape::Events(unknown.lines.clone());
            self.push(&start);
        }
        let seen = &mut self.seen;
        match &mut self.shape {
            Shape::Unknown(_) | Shape::Opaque => seen.unreadable(cleanly),
            // An event without its blank line is no event to a client, but the service sent it. That
            // it is cut in the middle is no error of the service.
            Shape::Events(decoder) => {
                decoder.finish(&mut Reading { seen, strict: false });
                seen.stream_ended(cleanly);
            }
            Shape::Json(document) => {
                let document = std::mem::take(document);
                if seen.document(document.slim.held()).is_err() {
                    seen.broken_document(&mut document.gist(), cleanly);
                }
            }
            Shape::LongJson(gist) => {
                let is_read = gist.is_complete() && seen.document(gist.read()).is_ok();
                if !is_read {
                    seen.broken_document(gist, cleanly);
                }
            }
        }
    }
}

impl Shape {
    /// A JSON body of which nothing has been read.
    fn json(bounds: Bounds) -> Shape {
        if bounds.document_bytes == 0 {
            Shape::LongJson(Box::default())
        } else {
            Shape::Json(Document::default())
        }
    }
}

impl Document {
    fn push(&mut self, bytes: &[u8]) {
        // From here on not all of it is held.
        if self.gist.is_none() && self.slim.held().len() + bytes.len() > DOCUMENT_BYTES_UNREAD_MAX {
            self.gist = Some(self.gist());
        }
        if let Some(gist) = &mut self.gist {
            gist.push(bytes);
        }
        self.slim.push(bytes);
    }

    /// What has been read of it, and the rest.
    fn gist(&self) -> Box<Gist> {
        self.gist.clone().unwrap_or_else(|| Box::new(Gist::of(self.slim.held())))
    }
}

impl Unknown {
    fn new(bounds: Bounds, is_stream: bool) -> Unknown {
        let lines = bounds.decoder();
        Unknown { start: Vec::new(), lines, is_spaced: false, is_stream }
    }

    /// More of the first bytes: what the body is; `None` if more are needed. `start` is what that has yet
    /// to be shown.
    fn push(&mut self, bytes: &[u8], bounds: Bounds) -> Option<Shape> {
        self.start.extend_from_slice(bytes);
        let text = match self.start.strip_prefix(BOM) {
            Some(text) if !self.is_spaced => text,
            _ if BOM.starts_with(&self.start) => return None,
            _ => &self.start,
        };
        let text = text.trim_ascii_start();
        let events = [&b"data:"[..], b"event:", b":", b"id:", b"retry:"];
        if text.is_empty() {
            if self.start.len() > SNIFF_BYTES_MAX {
                // There is no event in white space.
                self.lines.push(&self.start, &mut |_: sse::Event<'_>| {});
                self.start.clear();
                self.is_spaced = true;
            }
            return None;
        }
        if text.starts_with(b"{") {
            let front_bytes = self.start.len() - text.len();
            self.start.drain(..front_bytes);
            return Some(Shape::json(bounds));
        }
        if self.is_stream || events.iter().any(|field| text.starts_with(field)) {
            return Some(Shape::Events(self.lines.clone()));
        }
        let open = events.iter().any(|field| field.starts_with(text));
        (!open).then_some(Shape::Opaque)
    }
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
        let mut body = Body::new(Api::Responses, StatusCode::OK, &headers, true, Bounds::default());
        body.push(delta(4, "Hello", "abc").as_bytes());
        for (number, text, padding) in [(5, " world", ""), (10, "", "x"), (100, "!", "a long one")] {
            let event = delta(number, text, padding);
            let data = event.split("data: ").nth(1).unwrap().trim_end();
            assert!(body.seen.is_last_shape(data.as_bytes()), "{data}");
            body.push(event.as_bytes());
        }
        body.push(delta(101, "a\\n", "").as_bytes());
        body.push(delta(102, "b", "").as_bytes());
        let texts: Vec<_> = body.seen.answer.items.parts().map(|part| part.text.bytes()).collect();
        assert_eq!((texts, body.seen.events), (vec!["Hello world!a\nb".len() as u64], 6));
    }
}
