//! Which positions are sent, acknowledged, to be sent again.
//!
//! The mark is the end of the longest prefix without a hole. It never moves past a position that
//! is not acknowledged, in whatever order the answers come.

use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    Sent,
    Failed,
    Done,
}

/// One position of the window.
#[derive(Clone, Copy, Debug)]
struct WindowEntry {
    state: EntryState,
    /// When it was sent last, in milliseconds of the caller's clock.
    sent_ms: u32,
}

/// The window of positions between the mark and the last one sent.
#[derive(Debug)]
pub(super) struct Tracker {
    mark: u64,
    window: VecDeque<WindowEntry>,
    in_flight: usize,
    failed: BTreeSet<u64>,
}

impl Tracker {
    /// Everything up to `mark` is delivered; nothing else is sent.
    pub(super) fn new(mark: u64) -> Tracker {
        Tracker { mark, window: VecDeque::new(), in_flight: 0, failed: BTreeSet::new() }
    }

    /// End of the prefix that is delivered without a hole.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    /// The last position ever sent.
    pub(super) fn last(&self) -> u64 {
        self.mark + self.window.len() as u64
    }

    /// Positions sent and not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Positions held in the window.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    /// The first position to be sent again.
    pub(super) fn first_failed(&self) -> Option<u64> {
        self.failed.first().copied()
    }

    /// Whether this position is to be sent again.
    pub(super) fn is_failed(&self, position: u64) -> bool {
        self.failed.contains(&position)
    }

    /// A position is handed to the producer: the next one, or one that failed. Positions skipped
    /// over do not exist and count as delivered.
    pub(super) fn sent(&mut self, position: u64, now_ms: u32) {
        while self.last() + 1 < position {
            self.window.push_back(WindowEntry { state: EntryState::Done, sent_ms: now_ms });
        }
        let sent = WindowEntry { state: EntryState::Sent, sent_ms: now_ms };
        if position == self.last() + 1 {
            self.window.push_back(sent);
            self.in_flight += 1;
        } else if self.failed.remove(&position)
            && let Some(slot) = self.slot(position)
        {
            *slot = sent;
            self.in_flight += 1;
        }
        debug_assert!(self.in_flight + self.failed.len() <= self.window.len());
    }

    /// A sent position is acknowledged; returns when it was sent. Anything else is ignored.
    pub(super) fn acked(&mut self, position: u64) -> Option<u32> {
        let slot = self.slot(position).filter(|slot| slot.state == EntryState::Sent)?;
        slot.state = EntryState::Done;
        let sent_ms = slot.sent_ms;
        debug_assert!(self.in_flight > 0, "a position that is sent is in flight");
        self.in_flight -= 1;
        self.advance();
        Some(sent_ms)
    }

    /// A sent position is not delivered.
    pub(super) fn failed(&mut self, position: u64) {
        if let Some(slot) = self.slot(position).filter(|slot| slot.state == EntryState::Sent) {
            slot.state = EntryState::Failed;
            self.in_flight -= 1;
            self.failed.insert(position);
        }
    }

    /// A failed position will never be sent again: it is refused for good.
    pub(super) fn give_up(&mut self, position: u64) {
        if self.failed.remove(&position)
            && let Some(slot) = self.slot(position)
        {
            slot.state = EntryState::Done;
            self.advance();
        }
    }

    /// The producer is gone, with everything in flight.
    pub(super) fn lost(&mut self) {
        for (index, slot) in self.window.iter_mut().enumerate() {
            if slot.state == EntryState::Sent {
                slot.state = EntryState::Failed;
                self.failed.insert(self.mark + 1 + index as u64);
            }
        }
        self.in_flight = 0;
    }

    fn slot(&mut self, position: u64) -> Option<&mut WindowEntry> {
        let index = usize::try_from(position.checked_sub(self.mark + 1)?).ok()?;
        self.window.get_mut(index)
    }

    fn advance(&mut self) {
        while self.window.front().is_some_and(|slot| slot.state == EntryState::Done) {
            self.window.pop_front();
            self.mark += 1;
        }
        debug_assert!(
            self.failed.first().is_none_or(|failed| *failed > self.mark),
            "the mark passes no hole"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Action {
        Send,
        Resend,
        Ack(u64),
        Fail(u64),
        GiveUp(u64),
        Lose,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            6 => Just(Action::Send),
            3 => Just(Action::Resend),
            6 => (1..40_u64).prop_map(Action::Ack),
            3 => (1..40_u64).prop_map(Action::Fail),
            1 => (1..40_u64).prop_map(Action::GiveUp),
            1 => Just(Action::Lose),
        ]
    }

    proptest! {
        /// The model is a map from position to state; the mark is found by walking it.
        #[test]
        fn mark_never_passes_a_hole(start in 0..5_u64, actions in prop::collection::vec(action(), 0..200)) {
            let mut tracker = Tracker::new(start);
            let mut model: BTreeMap<u64, EntryState> = BTreeMap::new();
            for action in actions {
                let next = model.keys().next_back().copied().unwrap_or(start) + 1;
                match action {
                    Action::Send => {
                        tracker.sent(next, 1);
                        model.insert(next, EntryState::Sent);
                    }
                    Action::Resend => {
                        let failed = model.iter().find(|(_, state)| **state == EntryState::Failed);
                        let failed = failed.map(|(position, _)| *position);
                        prop_assert_eq!(tracker.first_failed(), failed);
                        if let Some(position) = failed {
                            tracker.sent(position, 2);
                            model.insert(position, EntryState::Sent);
                        }
                    }
                    Action::Ack(position) => {
                        tracker.acked(position);
                        model.entry(position).and_modify(|s| if *s == EntryState::Sent { *s = EntryState::Done });
                    }
                    Action::Fail(position) => {
                        tracker.failed(position);
                        model.entry(position).and_modify(|s| if *s == EntryState::Sent { *s = EntryState::Failed });
                    }
                    Action::GiveUp(position) => {
                        tracker.give_up(position);
                        model.entry(position).and_modify(|s| if *s == EntryState::Failed { *s = EntryState::Done });
                    }
                    Action::Lose => {
                        tracker.lost();
                        model.values_mut().filter(|s| **s == EntryState::Sent).for_each(|s| *s = EntryState::Failed);
                    }
                }
                let done = model.values().take_while(|state| **state == EntryState::Done).count() as u64;
                prop_assert_eq!(tracker.mark(), start + done);
                prop_assert_eq!(tracker.last(), model.keys().next_back().copied().unwrap_or(start));
                let sent = model.values().filter(|state| **state == EntryState::Sent).count();
                prop_assert_eq!(tracker.in_flight(), sent);
                prop_assert_eq!(tracker.len(), model.len() - done as usize);
            }
        }
    }

    #[test]
    fn positions_that_do_not_exist_are_no_holes() {
        let mut tracker = Tracker::new(3);
        tracker.sent(7, 5);
        assert_eq!((tracker.mark(), tracker.last()), (3, 7));
        assert_eq!((tracker.acked(7), tracker.acked(7)), (Some(5), None));
        assert_eq!((tracker.mark(), tracker.len()), (7, 0));
    }
}
