//! What has been seen of an answer's body: its events, or its document, put into the [`Answer`].

use http::StatusCode;

use super::answer::Answer;
use super::ends::{self, Last};
use super::items::Place;
use super::shape::Shape;
use crate::chunk::{Chunk, EventKind, Gist, Malformed, Response, ResponsesEvent, Slim, is_usage_event};
use crate::sse;
use crate::usage::Api;

/// What has been seen of a body.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its choices are read and counted.
    metered: bool,
    /// It has items, not choices: they are read and counted.
    items: bool,
    /// It must be readable; the text of an error may be anything.
    expected: bool,
    /// No event is known to be the last of a stream: it ends where its framing does.
    unmarked: bool,
    pub(super) answer: Answer,
    last_chunk: Shape<u64>,
    last_delta: Shape<Place>,
    /// What has come of an event that is long.
    gist: Option<Box<Gist>>,
    /// The same event, to be read as a whole; `None` beside a gist: there is more of it than may be held.
    long: Option<Box<Slim>>,
    /// Bytes of a long event that are held. None: no event is, and the gist of one is followed by that of the
    /// next.
    pub(super) event_bytes_max: usize,
    /// The end marker of a stream, or the whole of a document.
    pub(super) whole: bool,
    /// `[DONE]`, or the API's own last event.
    pub(super) done: bool,
    /// Events with data.
    pub(super) events: u64,
    /// Events or bodies that could not be read.
    pub(super) parse_errors: u64,
    /// Chunks with a usage.
    pub(super) usage_events: u64,
    /// One of them is none that can be taken out of the stream, or not the first.
    pub(super) usage_stays: bool,
    /// A part too long for its text to be read.
    pub(super) too_long: bool,
}

/// Takes what is in a stream.
pub(super) struct Reading<'a> {
    pub(super) seen: &'a mut Seen,
    /// An event that cannot be read is an error of the service: it was not cut.
    pub(super) strict: bool,
}

impl sse::Sink for Reading<'_> {
    fn event(&mut self, event: sse::Event<'_>) {
        (self.seen.gist, self.seen.long) = (None, None); // of its beginning
        self.seen.event(event, self.strict);
    }

    fn part(&mut self, data: &[u8]) {
        if !self.seen.done {
            self.seen.part(data);
        }
    }

    fn end_of_parts(&mut self, name: &[u8]) {
        let mut gist = self.seen.gist.take().unwrap_or_default();
        match self.seen.long.take() {
            Some(long) => self.seen.event(sse::Event { name, data: long.held() }, self.strict),
            None => self.seen.long_event(name, &mut gist, self.strict),
        }
        if self.seen.skims() {
            gist.restart();
            self.seen.gist = Some(gist);
        }
    }
}

impl Seen {
    /// Nothing yet, of an answer of this API.
    pub(super) fn new(api: Api, status: StatusCode) -> Seen {
        let metered = matches!(api, Api::ChatCompletions | Api::Completions);
        let known = matches!(api, Api::Completions | Api::Embeddings | Api::Responses);
        let expected = (metered || known) && status.is_success();
        let items = api == Api::Responses;
        let unmarked = !ends::has_marker(api);
        Seen { metered, items, expected, unmarked, ..Seen::default() }
    }

    /// No event is held.
    fn skims(&self) -> bool {
        self.event_bytes_max == 0
    }

    /// Bytes of a long event that are held.
    pub(super) fn held_event_bytes(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.held().len())
    }

    /// Memory that is held, beside what is constant.
    pub(super) fn memory_bytes(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.memory_bytes()) + self.answer.memory_bytes()
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

    /// Its texts are counted.
    pub(super) fn is_counted(&self) -> bool {
        self.metered || self.items
    }

    /// The same without the texts.
    pub(super) fn skimming(&self) -> Seen {
        Seen {
            answer: self.answer.skimming(),
            last_chunk: Shape::default(),
            last_delta: Shape::default(),
            gist: self.gist.clone(),
            long: None,
            event_bytes_max: 0,
            ..*self
        }
    }

    fn event(&mut self, event: sse::Event<'_>, strict: bool) {
        if self.done {
            return;
        }
        self.events += 1;
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            (self.done, self.whole) = (true, true);
        } else if strict {
            if self.read(event.name, data).is_err() {
                self.broken_event(&mut Gist::of(data));
            }
        } else {
            self.unended_event(event.name, data);
        }
    }

    /// The last event, which nothing ended: it was cut if it is no whole document, and nothing of it is
    /// read then. What is malformed in what nobody asks for does not matter, as in a long one.
    fn unended_event(&mut self, name: &[u8], data: &[u8]) {
        let mut gist = Gist::of(data);
        if !gist.is_complete() {
            self.name_error(name, data);
        } else if self.read(name, data).is_err() {
            _ = self.read(name, gist.read());
        }
    }

    /// An event of which no more was held than its gist.
    fn long_event(&mut self, name: &[u8], gist: &mut Gist, strict: bool) {
        if self.done {
            return;
        }
        self.events += 1;
        self.too_long |= !self.skims() && self.may_have_text(gist);
        if gist.is_done_marker() {
            (self.done, self.whole) = (true, true);
        } else if !(gist.is_complete() && self.read(name, gist.read()).is_ok()) {
            self.name_error(name, gist.read());
            if strict {
                self.broken_event(gist);
            }
        }
    }

    /// Text that is counted may have stood in what the gist of an event leaves out.
    fn may_have_text(&self, gist: &mut Gist) -> bool {
        let left_out_items = gist.left_out_items();
        match ResponsesEvent::parse(gist.read()).map(|event| event.kind()) {
            Ok(EventKind::Other) if self.items => false,
            Ok(EventKind::Response) => left_out_items,
            _ => true,
        }
    }

    fn read(&mut self, name: &[u8], data: &[u8]) -> Result<(), Malformed> {
        let read = if self.items { self.item_event(name, data) } else { self.chunk(name, data) };
        self.name_error(name, data);
        self.answer.event_read(data.len());
        read
    }

    /// An event that is called an error is one, whatever its data is.
    fn name_error(&mut self, name: &[u8], data: &[u8]) {
        if name == b"error" && self.answer.error.is_none() {
            self.answer.fail(&Chunk::parse(data).map(|chunk| chunk.failure()).unwrap_or_default());
        }
    }

    /// A chunk of a chat, or an event of an API that is not computed.
    fn chunk(&mut self, name: &[u8], data: &[u8]) -> Result<(), Malformed> {
        if name.is_empty()
            && let Some((choice, text)) = self.last_chunk.text(data)
        {
            self.answer.more_content(choice, text);
            return Ok(());
        }
        let chunk = Chunk::parse(data)?;
        let read = self.answer.feed(&chunk, self.metered);
        if chunk.has_usage() {
            self.usage_stays |= self.usage_events > 0 || !is_usage_event(data);
            self.usage_events += 1;
        }
        self.last_event(&chunk);
        if self.metered && name.is_empty() && read.is_ok() {
            self.last_chunk.learn_chunk(data, &chunk);
        }
        read
    }

    /// An event of a Responses answer.
    fn item_event(&mut self, name: &[u8], data: &[u8]) -> Result<(), Malformed> {
        let is_error = name == b"error";
        if !is_error && let Some((place, text)) = self.last_delta.text(data) {
            self.answer.more_text(place, text);
            return Ok(());
        }
        let item_event = ResponsesEvent::parse(data)?;
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

    /// A stream has ended; `cleanly`: where its framing says. Where no event is known to be the last one,
    /// that is its end.
    pub(super) fn stream_ended(&mut self, cleanly: bool) {
        self.whole |= cleanly && self.unmarked;
    }

    /// An event that is no JSON: what can be told of it all the same.
    fn broken_event(&mut self, gist: &mut Gist) {
        self.parse_errors += 1;
        let usage = gist.last_usage();
        if let Ok(chunk) = Chunk::parse(gist.read()) {
            self.last_event(&chunk);
        }
        if let Some(usage) = usage {
            self.answer.charge(&usage, 0, self.done);
        }
    }

    /// A document, or the gist of one.
    pub(super) fn document(&mut self, document: &[u8]) -> Result<(), Malformed> {
        let chunk = Chunk::parse(document)?;
        self.whole = true;
        let mut read = self.answer.feed(&chunk, self.metered);
        if self.items {
            read = Response::parse(document).and_then(|response| self.answer.feed_response(&response, true));
        }
        self.parse_errors += u64::from(read.is_err());
        Ok(())
    }

    /// A document that is cut or malformed: what it says as far as it can be followed, and at its very end.
    pub(super) fn broken_document(&mut self, gist: &mut Gist, cleanly: bool) {
        self.parse_errors += u64::from(cleanly && self.expected);
        let usage = gist.last_usage();
        if let Ok(chunk) = Chunk::parse(gist.read()) {
            // Its choices are not all there: none is read.
            _ = self.answer.feed(&chunk, false);
        }
        if let Some(usage) = usage {
            self.answer.charge(&usage, 0, true);
        }
    }

    /// A body that is nothing that we can read; `cleanly`: it ended where its framing says.
    pub(super) fn unreadable(&mut self, cleanly: bool) {
        self.whole = cleanly;
        self.parse_errors += u64::from(cleanly && self.expected);
    }

    /// The data is a delta like the last one.
    #[cfg(test)]
    pub(super) fn is_last_shape(&self, data: &[u8]) -> bool {
        self.last_delta.text(data).is_some()
    }
}
