//! The messages of the Realtime API that its service sends. Those of the caller say nothing that counts.

use std::time::Duration;

use memchr::memchr;
use smol_str::SmolStr;

use super::event::EventWriter;
use super::lanes::Lanes;
use super::requests::unasked;
use super::sink::{BegunResponse, LaneNumber, SessionSink};
use crate::chunk::{Gist, RealtimeEvent, RealtimeEventKind, RealtimeSession, Text};
use crate::meter::{SessionNames, label};

/// Memory that is kept from one message to the next: a response's usage with all its details has a kilobyte.
const KEPT_BYTES: usize = 2 << 10;

/// The beginning of a message, in which it says what it is: its `type` and the id of the event come first. Most of a
/// session are deltas, and after the first of a response nothing is read of them.
const BEGINNING_BYTES: usize = 128;

/// A session so far.
#[derive(Debug, Default)]
pub(super) struct RealtimeMessages {
    message: Gist,
    /// Bytes of the beginning of the message that have come.
    begun_bytes: usize,
    /// The rest of the message is passed over, or not, once its beginning is whole.
    passes_over: Option<bool>,
    lanes: Lanes,
    names: SessionNames,
    writer: EventWriter,
}

impl RealtimeMessages {
    /// Responses that are open.
    pub(super) fn open(&self) -> usize {
        self.lanes.len()
    }

    /// More of a message.
    pub(super) fn push(&mut self, text: &[u8]) {
        // Most messages come whole, and begin with their type: then no gist is needed to know it.
        if self.begun_bytes == 0 && text.len() > BEGINNING_BYTES && self.says_nothing_new(kind_in_front(text))
        {
            (self.begun_bytes, self.passes_over) = (BEGINNING_BYTES, Some(true));
            return;
        }
        let (beginning, rest) = text.split_at(text.len().min(BEGINNING_BYTES - self.begun_bytes));
        self.message.push(beginning);
        self.begun_bytes += beginning.len();
        if rest.is_empty() {
            return;
        }
        // Asked where the beginning ends, so that it makes no difference in what pieces the message comes.
        let passes_over =
            self.passes_over.unwrap_or_else(|| self.says_nothing_new(self.message.kind_ahead()));
        self.passes_over = Some(passes_over);
        if !passes_over {
            self.message.push(rest);
        }
    }

    /// A message of this type is a delta, and of each response that is open one has been shown.
    fn says_nothing_new(&self, kind: Option<&[u8]>) -> bool {
        kind.map(RealtimeEventKind::of) == Some(RealtimeEventKind::Delta) && self.lanes.all_have_begun()
    }

    /// The message is whole, `since` the session began.
    pub(super) fn end_message(&mut self, since: Duration, sink: &mut impl SessionSink) {
        let (passes_over, _) = (self.passes_over.take(), std::mem::take(&mut self.begun_bytes));
        if passes_over == Some(true) {
            return self.message.restart();
        }
        let mut message = std::mem::take(&mut self.message);
        if message.is_complete() {
            self.read(message.read(), since, sink);
        }
        if message.heap_bytes() <= KEPT_BYTES {
            message.restart();
            self.message = message;
        }
    }

    fn read(&mut self, document: &[u8], since: Duration, sink: &mut impl SessionSink) {
        let Ok(event) = RealtimeEvent::parse(document) else { return };
        match event.kind() {
            RealtimeEventKind::Session => self.describe(event.session(), sink),
            RealtimeEventKind::Created => {
                let id = event.response().and_then(|response| name(response.id));
                if id.as_deref().is_none_or(|id| self.lanes.of_id(id).is_none())
                    && let Some(lane) = self.lanes.begin(unasked(id, since), None, sink)
                {
                    self.show(lane, document, sink); // it names itself
                }
            }
            RealtimeEventKind::Delta => self.first_delta(&event, document, sink),
            RealtimeEventKind::Done => {
                let id = event.response().and_then(|response| name(response.id));
                let open = id.as_deref().and_then(|id| self.lanes.of_id(id)).map(|lane| lane.number);
                let lane = open.or_else(|| self.lanes.begin_alone(unasked(id, since), sink));
                self.settle(lane, document, sink);
            }
            RealtimeEventKind::Transcribed => {
                let begun = BegunResponse { is_transcription: true, ..unasked(name(event.item_id), since) };
                let lane = self.lanes.begin_alone(begun, sink);
                self.settle(lane, document, sink);
            }
            RealtimeEventKind::Error => {
                self.names.error = label(event.failure().class());
                sink.named(&self.names);
            }
            RealtimeEventKind::Other => {}
        }
    }

    fn describe(&mut self, session: Option<RealtimeSession<'_>>, sink: &mut impl SessionSink) {
        let Some(session) = session else { return };
        let names = SessionNames {
            id: name(session.id).or(self.names.id.take()),
            model: name(session.model).or(self.names.model.take()),
            transcription_model: name(session.transcription_model),
            error: self.names.error.take(),
        };
        self.names = names;
        sink.named(&self.names);
    }

    /// The first of the deltas of a response says when it began to speak.
    fn first_delta(&mut self, event: &RealtimeEvent<'_>, document: &[u8], sink: &mut impl SessionSink) {
        let Some(id) = event.response_id else { return };
        let Some(lane) = self.lanes.of_id(&id.lossy()).filter(|lane| !lane.has_begun) else { return };
        lane.has_begun = true;
        let number = lane.number;
        self.show(number, document, sink);
    }

    /// The service says how a response ended, and what it cost.
    fn settle(&mut self, lane: Option<LaneNumber>, document: &[u8], sink: &mut impl SessionSink) {
        if let Some(lane) = lane {
            self.show(lane, document, sink);
            self.lanes.end(lane, sink);
        }
    }

    fn show(&mut self, lane: LaneNumber, document: &[u8], sink: &mut impl SessionSink) {
        self.writer.push(document);
        sink.show(lane, self.writer.finish());
        self.writer.clear();
    }
}

/// The type of a message that begins with it, or with the id of the event and then with it.
fn kind_in_front(text: &[u8]) -> Option<&[u8]> {
    let members = text.get(..BEGINNING_BYTES)?.strip_prefix(b"{")?;
    let members = match members.strip_prefix(b"\"event_id\":\"") {
        Some(id) => id.get(memchr(b'"', id)?..)?.strip_prefix(b"\",")?,
        None => members,
    };
    let name = members.strip_prefix(b"\"type\":\"")?;
    name.get(..memchr(b'"', name)?)
}

fn name(text: Option<Text<'_>>) -> Option<SmolStr> {
    text.and_then(|text| label(&text.lossy()))
}
