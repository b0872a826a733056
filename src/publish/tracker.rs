//! Which positions are sent, acknowledged, to be sent again.
//!
//! The mark is the end of the longest prefix without a hole. It never moves past a position that
//! is not acknowledged, in whatever order the answers come.

use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sent,
    Failed,
    Done,
}

/// The window of positions between the mark and the last one sent.
#[derive(Debug)]
pub(super) struct Tracker {
    mark: u64,
    window: VecDeque<State>,
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

    /// A position is handed to the producer: the next one, or one that failed. Positions skipped
    /// over do not exist and count as delivered.
    pub(super) fn sent(&mut self, position: u64) {
        while self.last() + 1 < position {
            self.window.push_back(State::Done);
        }
        if position == self.last() + 1 {
            self.window.push_back(State::Sent);
            self.in_flight += 1;
        } else if self.failed.remove(&position) {
            self.set(position, State::Sent);
            self.in_flight += 1;
        }
    }

    /// A sent position is acknowledged. Anything else is ignored.
    pub(super) fn acked(&mut self, position: u64) {
        if self.get(position) == Some(State::Sent) {
            self.in_flight -= 1;
            self.set(position, State::Done);
            self.advance();
        }
    }

    /// A sent position is not delivered.
    pub(super) fn failed(&mut self, position: u64) {
        if self.get(position) == Some(State::Sent) {
            self.in_flight -= 1;
            self.set(position, State::Failed);
            self.failed.insert(position);
        }
    }

    /// A failed position will never be sent again: it is refused for good.
    pub(super) fn give_up(&mut self, position: u64) {
        if self.failed.remove(&position) {
            self.set(position, State::Done);
            self.advance();
        }
    }

    /// The producer is gone, with everything in flight.
    pub(super) fn lost(&mut self) {
        for (index, state) in self.window.iter_mut().enumerate() {
            if *state == State::Sent {
                *state = State::Failed;
                self.failed.insert(self.mark + 1 + index as u64);
            }
        }
        self.in_flight = 0;
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.mark + 1)?).ok()
    }

    fn get(&self, position: u64) -> Option<State> {
        self.window.get(self.index(position)?).copied()
    }

    fn set(&mut self, position: u64, state: State) {
        if let Some(slot) = self.index(position).and_then(|index| self.window.get_mut(index)) {
            *slot = state;
        }
    }

    fn advance(&mut self) {
        while self.window.front() == Some(&State::Done) {
            self.window.pop_front();
            self.mark += 1;
        }
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
            let mut model: BTreeMap<u64, State> = BTreeMap::new();
            for action in actions {
                let next = model.keys().next_back().copied().unwrap_or(start) + 1;
                match action {
                    Action::Send => {
                        tracker.sent(next);
                        model.insert(next, State::Sent);
                    }
                    Action::Resend => {
                        let failed = model.iter().find(|(_, state)| **state == State::Failed);
                        let failed = failed.map(|(position, _)| *position);
                        prop_assert_eq!(tracker.first_failed(), failed);
                        if let Some(position) = failed {
                            tracker.sent(position);
                            model.insert(position, State::Sent);
                        }
                    }
                    Action::Ack(position) => {
                        tracker.acked(position);
                        model.entry(position).and_modify(|s| if *s == State::Sent { *s = State::Done });
                    }
                    Action::Fail(position) => {
                        tracker.failed(position);
                        model.entry(position).and_modify(|s| if *s == State::Sent { *s = State::Failed });
                    }
                    Action::GiveUp(position) => {
                        tracker.give_up(position);
                        model.entry(position).and_modify(|s| if *s == State::Failed { *s = State::Done });
                    }
                    Action::Lose => {
                        tracker.lost();
                        model.values_mut().filter(|s| **s == State::Sent).for_each(|s| *s = State::Failed);
                    }
                }
                let done = model.values().take_while(|state| **state == State::Done).count() as u64;
                prop_assert_eq!(tracker.mark(), start + done);
                prop_assert_eq!(tracker.last(), model.keys().next_back().copied().unwrap_or(start));
                let sent = model.values().filter(|state| **state == State::Sent).count();
                prop_assert_eq!(tracker.in_flight(), sent);
                prop_assert_eq!(tracker.len(), model.len() - done as usize);
            }
        }
    }

    #[test]
    fn positions_that_do_not_exist_are_no_holes() {
        let mut tracker = Tracker::new(3);
        tracker.sent(7);
        assert_eq!((tracker.mark(), tracker.last()), (3, 7));
        tracker.acked(7);
        assert_eq!((tracker.mark(), tracker.len()), (7, 0));
    }
}
