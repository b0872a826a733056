//! The responses of a session that are open.

use smol_str::SmolStr;

use super::sink::{BegunResponse, LaneNumber, SessionSink};

/// Responses of one session that may be open at the same time. A service runs one at a time for each conversation
/// or stream; each takes a place in the ledger. A response beyond is settled if the service says what it cost.
const LANES_MAX: usize = 64;

/// A response that is open.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: LaneNumber,
    /// Its id, where it is known by it.
    pub(super) id: Option<SmolStr>,
    /// Its stream, where it is known by that.
    pub(super) stream_id: Option<SmolStr>,
    /// A first delta of it has been shown.
    pub(super) has_begun: bool,
}

/// All that are open, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    open: Vec<Lane>,
    last: LaneNumber,
}

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The response of this id.
    pub(super) fn of_id(&mut self, id: &str) -> Option<&mut Lane> {
        self.open.iter_mut().find(|lane| lane.id.as_deref() == Some(id))
    }

    /// The response of a stream, or the last one that has none.
    pub(super) fn of_stream(&self, stream_id: Option<&SmolStr>) -> Option<LaneNumber> {
        let mut known = self.open.iter().rev().filter(|lane| lane.stream_id.as_ref() == stream_id);
        known.next().map(|lane| lane.number)
    }

    /// A first delta of each has been shown.
    pub(super) fn all_have_begun(&self) -> bool {
        self.open.iter().all(|lane| lane.has_begun)
    }

    /// The only one that is open.
    pub(super) fn only(&self) -> Option<LaneNumber> {
        match &self.open[..] {
            [lane] => Some(lane.number),
            _ => None,
        }
    }

    /// Begins a response, which is open from now on. `None`: there are too many, or nobody wants to be told of it.
    pub(super) fn begin(
        &mut self,
        response: BegunResponse,
        stream_id: Option<SmolStr>,
        sink: &mut impl SessionSink,
    ) -> Option<LaneNumber> {
        if self.open.len() == LANES_MAX {
            return None;
        }
        let id = response.id.clone();
        let number = self.begin_alone(response, sink)?;
        self.open.push(Lane { number, id, stream_id, has_begun: false });
        Some(number)
    }

    /// Begins a response that ends before anything else happens.
    pub(super) fn begin_alone(
        &mut self,
        response: BegunResponse,
        sink: &mut impl SessionSink,
    ) -> Option<LaneNumber> {
        self.last = self.last.wrapping_add(1);
        sink.begin(self.last, response).then_some(self.last)
    }

    /// The response is over.
    pub(super) fn end(&mut self, number: LaneNumber, sink: &mut impl SessionSink) {
        self.open.retain(|lane| lane.number != number);
        sink.end(number);
    }
}
