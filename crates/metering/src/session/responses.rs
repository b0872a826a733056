//! The events of the Responses API that come as messages: those of its streams, and errors.
//!
//! A message is held until it is whole, and then shown to its response. One that is long is shown as it comes,
//! once it is known whose it is; if that is said behind all the rest, its response is shown the gist of it.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use smol_str::SmolStr;

use super::event::EventWriter;
use super::head::{HeadMembers, MessageHead, MessageKind};
use super::lanes::Lanes;
use super::requests::{Requests, unasked};
use super::sink::{BegunResponse, LaneNumber, SessionSink};
use crate::chunk::{Chunk, Gist};
use crate::meter::{SessionNames, label, status_named};

/// Bytes of a message that are held before it is known whose it is. A delta has some 200; what is longer repeats
/// instructions, tools or texts, and says first what it is.
const HELD_BYTES_MAX: usize = 16 << 10;

/// A session so far.
#[derive(Debug, Default)]
pub(super) struct ResponsesMessages {
    pub(super) requests: Requests,
    lanes: Lanes,
    head: MessageHead,
    event: EventWriter,
    passage: Passage,
    /// Some message named a stream.
    has_streams: bool,
}

/// The way of the message that has begun.
#[derive(Debug, Default)]
enum Passage {
    /// It is held.
    #[default]
    Held,
    /// Its response is shown it as it comes.
    Shown(LaneNumber),
    /// It is too long, and it is not known whose it is.
    Gist(Box<Gist>),
}

impl ResponsesMessages {
    /// Responses that are open.
    pub(super) fn open(&self) -> usize {
        self.lanes.len()
    }

    /// More of a message of the service.
    pub(super) fn push(&mut self, text: &[u8], since: Duration, sink: &mut impl SessionSink) {
        self.head.push(text);
        match &mut self.passage {
            Passage::Held if self.event.text().len() + text.len() <= HELD_BYTES_MAX => self.event.push(text),
            Passage::Held => self.choose_passage(text, since, sink),
            Passage::Shown(lane) => {
                self.event.push(text);
                sink.show(*lane, self.event.take());
            }
            Passage::Gist(gist) => gist.push(text),
        }
    }

    /// The message that is held becomes too long with this.
    fn choose_passage(&mut self, text: &[u8], since: Duration, sink: &mut impl SessionSink) {
        let members = self.head.members.clone();
        let streams = self.has_streams || self.requests.has_streams;
        let is_known = members.kind != MessageKind::Other && (members.stream_id.is_some() || !streams);
        let lane = if is_known { self.lane_of(&members, since, sink) } else { None };
        self.passage = match lane {
            Some(lane) => {
                self.event.push(text);
                sink.show(lane, self.event.take());
                Passage::Shown(lane)
            }
            None => {
                let mut gist = Box::new(Gist::of(self.event.text()));
                gist.push(text);
                self.event.clear();
                Passage::Gist(gist)
            }
        };
    }

    /// The message is whole, `since` the session began.
    pub(super) fn end_message(&mut self, since: Duration, sink: &mut impl SessionSink) {
        let is_whole = self.head.is_complete();
        let members = self.head.take();
        self.has_streams |= members.stream_id.is_some();
        match std::mem::take(&mut self.passage) {
            Passage::Shown(lane) => self.show_end(lane, &members, sink),
            Passage::Held if is_whole => self.whole(&members, false, since, sink),
            Passage::Gist(mut gist) if gist.is_complete() => {
                let left_out = gist.left_out_items() || members.kind == MessageKind::More;
                self.event.push(gist.read());
                self.whole(&members, left_out, since, sink);
            }
            Passage::Held | Passage::Gist(_) => {}
        }
        self.event.clear();
    }

    /// Shows a whole message to its response, if it is any's. `left_out`: its texts are missing.
    fn whole(&mut self, members: &HeadMembers, left_out: bool, since: Duration, sink: &mut impl SessionSink) {
        if members.kind == MessageKind::Error {
            return self.error(members, sink);
        }
        let Some(lane) = self.lane_of(members, since, sink) else { return };
        if left_out {
            sink.left_out(lane);
        }
        self.show_end(lane, members, sink);
    }

    fn show_end(&mut self, lane: LaneNumber, members: &HeadMembers, sink: &mut impl SessionSink) {
        sink.show(lane, self.event.finish());
        if members.kind == MessageKind::Ended {
            self.lanes.end(lane, sink);
        }
    }

    /// The response whose event this is. It may begin with it.
    fn lane_of(
        &mut self,
        members: &HeadMembers,
        since: Duration,
        sink: &mut impl SessionSink,
    ) -> Option<LaneNumber> {
        let stream_id = members.stream_id.as_ref();
        let open = || self.lanes.of_stream(stream_id);
        match members.kind {
            MessageKind::Created => {}
            MessageKind::More | MessageKind::Ended => {
                if let Some(lane) = open().or_else(|| self.lanes.only().filter(|_| stream_id.is_none())) {
                    return Some(lane);
                }
            }
            MessageKind::Request | MessageKind::Error | MessageKind::Other => return None,
        }
        let asked = self.requests.take(stream_id, StatusCode::OK);
        let begun = match asked {
            Some(begun) => begun,
            // A response that costs something is never left out.
            None if members.kind != MessageKind::More => unasked(None, since),
            None => return None,
        };
        let begun = BegunResponse { id: self.response_id(), ..begun };
        self.lanes.begin(begun, members.stream_id.clone(), sink)
    }

    /// The id of the response in the message that is held, if that is whole.
    fn response_id(&self) -> Option<SmolStr> {
        let chunk = Chunk::parse(self.event.text()).ok()?;
        label(&chunk.response()?.id?.lossy())
    }

    /// An error ends a response that is open; or it is what became of a request; or it is the session's.
    fn error(&mut self, members: &HeadMembers, sink: &mut impl SessionSink) {
        let stream_id = members.stream_id.as_ref();
        let named = stream_id.and_then(|_| self.lanes.of_stream(stream_id));
        let within = self.lanes.only().filter(|_| members.is_numbered && members.status.is_none());
        if let Some(lane) = named.or(within) {
            return self.fail(lane, sink);
        }
        if let Some(begun) = self.requests.take(stream_id, status_of(members, self.event.text())) {
            let Some(lane) = self.lanes.begin_alone(begun, sink) else { return };
            sink.show(lane, self.event.take_text());
            return self.lanes.end(lane, sink);
        }
        match self.lanes.only() {
            Some(lane) => self.fail(lane, sink),
            None => {
                let failure = Chunk::parse(self.event.text()).map(|chunk| chunk.failure());
                let error = failure.ok().and_then(|failure| label(failure.class()));
                sink.named(&SessionNames { error, ..SessionNames::default() });
            }
        }
    }

    fn fail(&mut self, lane: LaneNumber, sink: &mut impl SessionSink) {
        let event: Bytes = self.event.finish();
        sink.show(lane, event);
        self.lanes.end(lane, sink);
    }
}

/// The status that an error would have by HTTP: its own, or the one that its name stands for.
fn status_of(members: &HeadMembers, document: &[u8]) -> StatusCode {
    let by_name = || Chunk::parse(document).ok()?.failure().names().find_map(status_named);
    let status = members.status.filter(|status| (400..600).contains(status)).or_else(by_name);
    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
