//! Whoever looks at the bytes of a session once they have been passed on.

use metering::frames::Frames;
use metering::meter::Ending;
use metering::session::SessionSide;

use crate::tee::ObservedSession;

/// Looks at the bytes of both sides, and is told at the end how the session ended.
pub(super) trait SessionWatch {
    /// The frames of a side, as far as they were looked at.
    fn frames(&self, side: SessionSide) -> &Frames;

    /// A response has begun, and not ended.
    fn is_responding(&self) -> bool;

    /// The task was polled again.
    fn begin_turn(&mut self);

    /// Other tasks come first.
    fn is_turn_over(&self) -> bool;

    /// The next bytes of a side. Returns how many were looked at: fewer if the turn is over.
    fn observe(&mut self, side: SessionSide, bytes: &[u8]) -> usize;

    /// Looks at the last bytes of each side, and ends as `judge` finds then. `None`: it was interrupted.
    fn end(self, last: [(SessionSide, &[u8]); 2], judge: impl FnOnce(&Self) -> Option<Ending>);
}

impl SessionWatch for ObservedSession {
    fn frames(&self, side: SessionSide) -> &Frames {
        self.frames(side)
    }

    fn is_responding(&self) -> bool {
        self.is_responding()
    }

    fn begin_turn(&mut self) {
        self.begin_turn();
    }

    fn is_turn_over(&self) -> bool {
        self.is_turn_over()
    }

    fn observe(&mut self, side: SessionSide, bytes: &[u8]) -> usize {
        self.observe(side, bytes)
    }

    fn end(self, last: [(SessionSide, &[u8]); 2], judge: impl FnOnce(&Self) -> Option<Ending>) {
        self.end(last, judge);
    }
}
