//! From the bytes of a response to what it holds: events of a stream, or one JSON document.
//!
//! A body that is short enough is held and read as a whole, without its `logprobs` ([`Slim`]). A longer one, and
//! one of which nothing is counted, is read as it passes, in constant memory and by the same readers: see [`Gist`].

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::read::{BatchOutput, EventSink, ResponseReader};
use crate::api::Api;
use crate::chunk::{Gist, Slim};
use crate::sse;

/// How much of a response is held to be read as a whole, `logprobs` aside. A longer response is not counted,
/// but read for what it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one event of a stream.
    pub event_bytes: usize,
    /// Bytes of a JSON body. Responses of 100,000 tokens have some 500 kB.
    pub document_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        // The last event of a Responses stream repeats the whole response, and it is the one with `usage`.
        Bounds { event_bytes: 4 << 20, document_bytes: 4 << 20 }
    }
}

impl Bounds {
    /// Nothing is held.
    pub(super) const NONE: Bounds = Bounds { event_bytes: 0, document_bytes: 0 };

    /// The reader of events: it holds the short ones, and shows the others in parts.
    fn decoder(self) -> sse::Decoder {
        let held = if self == Bounds::NONE { SHORT_EVENT_BYTES_MAX } else { self.event_bytes };
        sse::Decoder::holding(held.min(sse::EVENT_BYTES_UNSHOWN_MAX))
    }
}

/// An event up to this size is held although nothing of it is counted: to read it as a whole takes a third of the
/// instructions that its gist takes. The deltas of a message have some hundred bytes.
const SHORT_EVENT_BYTES_MAX: usize = 4 << 10;

/// A document of which more is held than this is also read as it passes. So it can be let go of at any time.
const DOCUMENT_BYTES_UNREAD_MAX: usize = Slim::AS_IT_IS_BYTES_MAX;

/// White space in front of a body that is held; no service sends any.
const SNIFF_BYTES_MAX: usize = 64;

/// A byte order mark.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A body that is being read.
#[derive(Debug)]
pub(super) struct MeteredBody {
    format: BodyFormat,
    pub(super) response: ResponseReader,
    bounds: Bounds,
}

#[derive(Debug)]
enum BodyFormat {
    Unknown(Unknown),
    Events(sse::Decoder),
    Json(Document),
    LongJson(Box<Gist>),
    BatchOutput(Box<BatchOutput>),
    /// Audio, subtitles: nothing that can be read here.
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
    /// The part of it that has been read: nothing while it is short.
    gist: Option<Box<Gist>>,
}

impl MeteredBody {
    /// A body with these headers. `stream`: the request asked for a stream.
    pub(super) fn new(
        api: Api,
        status: StatusCode,
        headers: &HeaderMap,
        stream: bool,
        bounds: Bounds,
    ) -> MeteredBody {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let content_type = content_type.split(';').next().unwrap_or("").trim();
        let is = |known: &str| content_type.eq_ignore_ascii_case(known);
        let suffix = content_type.rsplit_once('+').map_or("", |(_, suffix)| suffix);
        let json = is("application/json") || suffix.eq_ignore_ascii_case("json");
        let mut response = ResponseReader::new(api, status);
        // Embeddings, images and the like can have a hundred megabytes, and nothing of them is counted.
        let bounds = if response.is_counted() || !status.is_success() { bounds } else { Bounds::NONE };
        response.event_bytes_max = bounds.event_bytes;
        let format = if is("text/event-stream") {
            // Some services give this name to their documents, if they were asked for a stream.
            BodyFormat::Unknown(Unknown::new(bounds, true))
        } else if (stream && status.is_success()) || content_type.is_empty() {
            // Some gateways lose the type of a stream, or call it JSON.
            BodyFormat::Unknown(Unknown::new(bounds, false))
        } else if json || !status.is_success() {
            BodyFormat::json(bounds)
        } else if is("application/octet-stream") {
            BodyFormat::Unknown(Unknown::new(bounds, false))
        } else {
            BodyFormat::Opaque
        };
        MeteredBody { format, response, bounds }
    }

    /// A body that may be the output of a batch, whatever it is called.
    pub(super) fn batch_output(api: Api, status: StatusCode) -> MeteredBody {
        let response = ResponseReader::new(api, status);
        MeteredBody { format: BodyFormat::BatchOutput(Box::default()), response, bounds: Bounds::NONE }
    }

    /// It is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        match &self.format {
            BodyFormat::Events(_) => true,
            BodyFormat::Unknown(unknown) => unknown.is_stream,
            BodyFormat::Json(_)
            | BodyFormat::LongJson(_)
            | BodyFormat::BatchOutput(_)
            | BodyFormat::Opaque => false,
        }
    }

    /// Its bytes are read at the speed of memchr or copied, and nothing of them is counted before the end.
    pub(super) fn is_light(&self) -> bool {
        match &self.format {
            BodyFormat::Events(_) | BodyFormat::Unknown(_) => self.bounds == Bounds::NONE,
            BodyFormat::Json(_)
            | BodyFormat::LongJson(_)
            | BodyFormat::BatchOutput(_)
            | BodyFormat::Opaque => true,
        }
    }

    /// Bytes that [`MeteredBody::finish`] has yet to read.
    pub(super) fn unread_bytes(&self) -> usize {
        match &self.format {
            BodyFormat::Json(document) => document.slim.held().len(),
            BodyFormat::Events(_) => self.held_bytes(),
            BodyFormat::Unknown(_)
            | BodyFormat::LongJson(_)
            | BodyFormat::BatchOutput(_)
            | BodyFormat::Opaque => 0,
        }
    }

    /// Bytes that the next piece may make it read at once: those of an event that the piece may end.
    pub(super) fn held_bytes(&self) -> usize {
        if let BodyFormat::Events(decoder) = &self.format {
            decoder.held_bytes() + self.response.held_event_bytes()
        } else {
            0
        }
    }

    /// Memory that is held, beside what is constant.
    pub(super) fn memory_bytes(&self) -> usize {
        let held_bytes = match &self.format {
            BodyFormat::Json(document) => document.slim.memory_bytes(),
            BodyFormat::Events(decoder) => decoder.held_bytes(),
            BodyFormat::Unknown(_)
            | BodyFormat::LongJson(_)
            | BodyFormat::BatchOutput(_)
            | BodyFormat::Opaque => 0,
        };
        held_bytes + self.response.memory_bytes()
    }

    /// A body at the same point of which nothing more is held and no text counted: it is read on only for
    /// what the response reports. To make it takes little, however much is held.
    pub(super) fn skimming(&self) -> MeteredBody {
        let mut response = self.response.skimming();
        let format = match &self.format {
            BodyFormat::Unknown(unknown) => {
                let lines =
                    unknown.lines.holding_nothing(&mut EventSink { response: &mut response, strict: true });
                BodyFormat::Unknown(Unknown { lines, start: unknown.start.clone(), ..*unknown })
            }
            BodyFormat::Events(decoder) => BodyFormat::Events(
                decoder.holding_nothing(&mut EventSink { response: &mut response, strict: true }),
            ),
            BodyFormat::Json(document) => BodyFormat::LongJson(document.gist()),
            BodyFormat::LongJson(gist) => BodyFormat::LongJson(gist.clone()),
            BodyFormat::BatchOutput(output) => BodyFormat::BatchOutput(output.clone()),
            BodyFormat::Opaque => BodyFormat::Opaque,
        };
        MeteredBody { format, response, bounds: Bounds::NONE }
    }

    /// The next decoded bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.format {
            BodyFormat::Unknown(unknown) => {
                let Some(format) = unknown.push(bytes, self.bounds) else { return };
                let start = std::mem::take(&mut unknown.start);
                self.format = format;
                self.push(&start);
            }
            BodyFormat::Events(decoder) => {
                decoder.push(bytes, &mut EventSink { response: &mut self.response, strict: true });
            }
            BodyFormat::Json(document) => {
                document.push(bytes);
                if document.slim.held().len() > self.bounds.document_bytes {
                    self.response.too_long |= self.bounds != Bounds::NONE;
                    self.format = BodyFormat::LongJson(document.gist());
                }
            }
            BodyFormat::LongJson(gist) => gist.push(bytes),
            BodyFormat::BatchOutput(output) => output.push(bytes),
            BodyFormat::Opaque => {}
        }
    }

    /// The body has ended; `cleanly`: where its framing says that it ends.
    pub(super) fn finish(&mut self, cleanly: bool) {
        if let BodyFormat::Unknown(unknown) = &mut self.format
            && unknown.is_stream
        {
            let start = std::mem::take(&mut unknown.start);
            self.format = BodyFormat::Events(unknown.lines.clone());
            self.push(&start);
        }
        let response = &mut self.response;
        match &mut self.format {
            BodyFormat::Unknown(_) | BodyFormat::Opaque => response.unreadable(cleanly),
            // An event without its blank line is no event to a client, but the service sent it. That
            // it is cut in the middle is no error of the service.
            BodyFormat::Events(decoder) => {
                decoder.finish(&mut EventSink { response, strict: false });
                response.stream_ended(cleanly);
            }
            BodyFormat::Json(document) => {
                let document = std::mem::take(document);
                if response.document(document.slim.held()).is_err() {
                    response.broken_document(&mut document.gist(), cleanly);
                }
            }
            BodyFormat::BatchOutput(output) => {
                response.whole = output.finish(&mut response.facts) && cleanly;
                (response.events, response.parse_errors) = output.lines();
            }
            BodyFormat::LongJson(gist) => {
                let is_read = gist.is_complete() && response.document(gist.read()).is_ok();
                if !is_read {
                    response.broken_document(gist, cleanly);
                }
            }
        }
    }
}

impl BodyFormat {
    /// A JSON body of which nothing has been read.
    fn json(bounds: Bounds) -> BodyFormat {
        if bounds.document_bytes == 0 {
            BodyFormat::LongJson(Box::default())
        } else {
            BodyFormat::Json(Document::default())
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

    /// The gist of what has been read, and of the rest.
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
    fn push(&mut self, bytes: &[u8], bounds: Bounds) -> Option<BodyFormat> {
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
            return Some(BodyFormat::json(bounds));
        }
        if self.is_stream || events.iter().any(|field| text.starts_with(field)) {
            return Some(BodyFormat::Events(self.lines.clone()));
        }
        let open = events.iter().any(|field| field.starts_with(text));
        (!open).then_some(BodyFormat::Opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::read::{BodyReader, ItemsReader};

    fn items(body: &MeteredBody) -> &ItemsReader {
        match &body.response.reader {
            BodyReader::Items(reader) => reader,
            _ => panic!("another reader"),
        }
    }

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
        let mut body = MeteredBody::new(Api::Responses, StatusCode::OK, &headers, true, Bounds::default());
        body.push(delta(4, "Hello", "abc").as_bytes());
        for (number, text, padding) in [(5, " world", ""), (10, "", "x"), (100, "!", "a long one")] {
            let event = delta(number, text, padding);
            let data = event.split("data: ").nth(1).unwrap().trim_end();
            assert!(items(&body).is_last_shape(data.as_bytes()), "{data}");
            body.push(event.as_bytes());
        }
        body.push(delta(101, "a\\n", "").as_bytes());
        body.push(delta(102, "b", "").as_bytes());
        let texts: Vec<_> = items(&body).items.parts().map(|part| part.text.bytes()).collect();
        assert_eq!((texts, body.response.events), (vec!["Hello world!a\nb".len() as u64], 6));
    }
}
