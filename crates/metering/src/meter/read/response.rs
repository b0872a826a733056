//! A response's body so far: its events, or its document, are shown to the reader of its kind.

use http::StatusCode;

use super::facts::ResponseFacts;
use super::reader::BodyReader;
use crate::api::{Api, DONE};
use crate::chunk::{Chunk, Gist, Malformed, Slim};
use crate::sse;

/// Bytes of all texts that are kept while no event has named the model: each may be long, and there may
/// be many. Looked at every so many bytes of events.
const UNNAMED_BYTES_MAX: usize = 512 << 10;
const UNNAMED_LOOK_BYTES: usize = 64 << 10;

/// A response's body so far.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    pub(crate) facts: ResponseFacts,
    pub(crate) reader: BodyReader,
    /// It must be readable; the text of an error may be anything.
    expected: bool,
    /// No event is known to be the last of a stream: it ends where its framing does.
    unmarked: bool,
    /// The beginning of an event that is long.
    gist: Option<Box<Gist>>,
    /// The same event, to be read as a whole; `None` beside a gist: there is more of it than may be held.
    long: Option<Box<Slim>>,
    /// Bytes of a long event that are held. None: no event is, and the gist of one is followed by that of the
    /// next.
    pub(crate) event_bytes_max: usize,
    /// Bytes of events since it was looked at how much is kept while no model is known.
    unnamed_bytes: usize,
    /// All of it has been seen: the end marker of a stream, or a document.
    pub(crate) whole: bool,
    /// Events with data.
    pub(crate) events: u64,
    /// Events or bodies that could not be read.
    pub(crate) parse_errors: u64,
    /// A part too long for its text to be read.
    pub(crate) too_long: bool,
}

/// Takes the events of a stream.
pub(crate) struct EventSink<'a> {
    pub(crate) response: &'a mut ResponseReader,
    /// An event that cannot be read is an error of the service: it was not cut.
    pub(crate) strict: bool,
}

impl sse::Sink for EventSink<'_> {
    fn event(&mut self, event: sse::Event<'_>) {
        (self.response.gist, self.response.long) = (None, None); // of its beginning
        self.response.event(event, self.strict);
    }

    fn part(&mut self, data: &[u8]) {
        if !self.response.facts.is_over() {
            self.response.part(data);
        }
    }

    fn end_of_parts(&mut self, name: &[u8]) {
        let mut gist = self.response.gist.take().unwrap_or_default();
        match self.response.long.take() {
            Some(long) => self.response.event(sse::Event { name, data: long.held() }, self.strict),
            None => self.response.long_event(name, &mut gist, self.strict),
        }
        if self.response.skims() {
            gist.restart();
            self.response.gist = Some(gist);
        }
    }
}

impl ResponseReader {
    /// Nothing yet, of a response of this API.
    pub(crate) fn new(api: Api, status: StatusCode) -> ResponseReader {
        let reader = BodyReader::of(api.body_kind());
        ResponseReader {
            facts: ResponseFacts { defers: api.defers(), ..ResponseFacts::default() },
            expected: (api.rules().is_some() || reader.is_selective()) && status.is_success(),
            reader,
            unmarked: !api.has_end_marker(),
            gist: None,
            long: None,
            event_bytes_max: 0,
            unnamed_bytes: 0,
            whole: false,
            events: 0,
            parse_errors: 0,
            too_long: false,
        }
    }

    /// No event is held.
    fn skims(&self) -> bool {
        self.event_bytes_max == 0
    }

    /// Its texts are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.reader.is_counted()
    }

    /// All of it has been seen, and it is no error.
    pub(crate) fn is_whole_success(&self) -> bool {
        self.whole && self.facts.error.is_none()
    }

    /// Bytes of a long event that are held.
    pub(crate) fn held_event_bytes(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.held().len())
    }

    /// Memory that is held, beside what is constant.
    pub(crate) fn memory_bytes(&self) -> usize {
        let texts = self.reader.memory_bytes() + self.reader.uncounted_bytes();
        self.long.as_ref().map_or(0, |long| long.memory_bytes()) + texts
    }

    /// More of a long event.
    fn part(&mut self, data: &[u8]) {
        if self.gist.is_none() && !self.skims() {
            self.long = Some(Box::default());
        }
        self.gist.get_or_insert_default().push(data);
        if let Some(long) = &mut self.long {
            long.push(data);
            if long.held().len() > self.event_bytes_max {
                self.long = None;
            }
        }
    }

    /// The same without the texts.
    pub(crate) fn skimming(&self) -> ResponseReader {
        ResponseReader {
            facts: self.facts.clone(),
            reader: self.reader.skimming(),
            gist: self.gist.clone(),
            long: None,
            event_bytes_max: 0,
            ..*self
        }
    }

    fn event(&mut self, event: sse::Event<'_>, strict: bool) {
        if self.facts.is_over() {
            return;
        }
        self.events += 1;
        let data = event.data.trim_ascii();
        if data == DONE.as_bytes() {
            self.facts.done = true;
        } else if strict {
            if self.read(event.name, data).is_err() {
                self.broken_event(&mut Gist::of(data));
            }
        } else {
            self.unended_event(event.name, data);
        }
        self.whole |= self.facts.done;
    }

    /// The last event, which nothing ended: it was cut if it is no whole document, and nothing of it is
    /// read then. A member that no reader asks for may be malformed, as in a long event.
    fn unended_event(&mut self, name: &[u8], data: &[u8]) {
        let mut gist = Gist::of(data);
        if !gist.is_complete() {
            self.facts.name_error(name, data);
        } else if self.read(name, data).is_err() {
            _ = self.read(name, gist.read());
        }
    }

    /// An event of which no more was held than its gist.
    fn long_event(&mut self, name: &[u8], gist: &mut Gist, strict: bool) {
        if self.facts.is_over() {
            return;
        }
        self.events += 1;
        self.too_long |= !self.skims() && self.reader.may_have_text(gist);
        if gist.is_done_marker() {
            self.facts.done = true;
        } else if !(gist.is_complete() && self.read(name, gist.read()).is_ok()) {
            self.facts.name_error(name, gist.read());
            if strict {
                self.broken_event(gist);
            }
        }
        self.whole |= self.facts.done;
    }

    fn read(&mut self, name: &[u8], data: &[u8]) -> Result<(), Malformed> {
        let read = self.reader.event(name, data, &mut self.facts);
        self.facts.name_error(name, data);
        self.lose_unnamed(data.len());
        read
    }

    /// Another event of so many bytes has been read. Texts that no vocabulary is known for are let go of
    /// once there is too much of them.
    fn lose_unnamed(&mut self, event_bytes: usize) {
        if self.facts.rules.is_some() {
            return;
        }
        self.unnamed_bytes = self.unnamed_bytes.saturating_add(event_bytes);
        if self.unnamed_bytes < UNNAMED_LOOK_BYTES {
            return;
        }
        self.unnamed_bytes = 0;
        if self.reader.uncounted_bytes() > UNNAMED_BYTES_MAX {
            self.reader.lose_unnamed();
        }
    }

    /// A stream has ended; `cleanly`: where its framing says. Where no event is known to be the last one, that is its
    /// end; so it is behind a result, of which a service may make fewer than were asked for.
    pub(crate) fn stream_ended(&mut self, cleanly: bool) {
        self.whole |= cleanly && (self.unmarked || self.facts.results > 0);
    }

    /// An event that is no JSON: what can be told of it nevertheless.
    fn broken_event(&mut self, gist: &mut Gist) {
        self.parse_errors += 1;
        let usage = gist.last_usage();
        if let Ok(chunk) = Chunk::parse(gist.read()) {
            self.facts.end_result(&chunk);
            self.facts.last_event(&chunk);
        }
        if let Some(usage) = usage {
            let nothing_follows = self.facts.done || self.reader.finished();
            self.reader.last_usage(&usage, nothing_follows, &mut self.facts);
        }
    }

    /// A document, or the gist of one.
    pub(crate) fn document(&mut self, document: &[u8]) -> Result<(), Malformed> {
        let chunk = Chunk::parse(document)?;
        self.whole = true;
        let read = self.reader.document(document, &chunk, &mut self.facts);
        self.parse_errors += u64::from(read.is_err());
        Ok(())
    }

    /// A document that is cut or malformed: what it says as far as it can be followed, and at its very end.
    pub(crate) fn broken_document(&mut self, gist: &mut Gist, cleanly: bool) {
        self.parse_errors += u64::from(cleanly && self.expected);
        let usage = gist.last_usage();
        if let Ok(chunk) = Chunk::parse(gist.read()) {
            self.reader.outline(&chunk, &mut self.facts);
        }
        if let Some(usage) = usage {
            self.reader.last_usage(&usage, true, &mut self.facts);
        }
    }

    /// A body that is nothing that can be read; `cleanly`: it ended where its framing says.
    pub(crate) fn unreadable(&mut self, cleanly: bool) {
        self.whole = cleanly;
        self.parse_errors += u64::from(cleanly && self.expected);
    }
}
