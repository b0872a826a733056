//! An answer's bytes on the network thread.
//!
//! A little is counted at once. Where more comes in one turn, the meter is lent to the pool and counts there;
//! the network thread itself reads on for what the answer reports ([`metering::meter::Skim`]). That takes no more memory however
//! far behind the pool is, and needs nothing of it: when too much waits to be counted, the count is given up,
//! and what was reported is known all the same. So no end of an answer is ever lost, and nothing that is only
//! skimmed waits for anybody.
//!
//! A coding can only be undone once and in order, so that is done here as well, and the pool gets what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};

use super::call::{Call, Seat, State};
#[cfg(test)]
use super::tests::Meter;
use super::{ANSWER_BYTES_FREE, INLINE_BYTES_MAX};
#[cfg(not(test))]
use metering::meter::Meter;

/// Bytes of an answer that are read for what they report before the task yields to others: at most 2 ms
/// of the worst (tiny events), 0.01 ms of an image.
const SKIM_BYTES_PER_TURN: usize = 128 * 1024;

/// Work of an answer between two looks at what the meter holds of it. What comes in between is little.
const WEIGH_EVERY_BYTES: u64 = 16 << 10;

/// What may be done for one call before its task yields, in bytes of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Counted.
    pub(super) count_bytes: usize,
    /// Only read for what they report, or kept for later.
    pub(super) skim_bytes: usize,
}

impl Turn {
    pub(super) fn new() -> Turn {
        Turn { count_bytes: INLINE_BYTES_MAX, skim_bytes: SKIM_BYTES_PER_TURN }
    }

    /// Other calls come first.
    pub(super) fn is_over(&self) -> bool {
        self.skim_bytes == 0
    }
}

impl Call {
    /// The next bytes of the answer. True: the turn was too short for all of them, and
    /// [`Call::read_on`] is to be called in the next one, before other bytes are shown.
    pub(super) fn response_frame(self: &Arc<Self>, bytes: &Bytes, turn: &mut Turn) -> bool {
        let mut state = self.lock();
        if state.ended.is_some() {
            return false;
        }
        state.facts.answer_bytes += bytes.len() as u64;
        state.changed = true;
        if !state.unread.is_empty() {
            self.read(&mut state, &mut Turn { count_bytes: 0, skim_bytes: usize::MAX });
        }
        let taken = self.inline(&mut state, bytes, turn);
        if taken < bytes.len() {
            state.unread = bytes.slice(taken..);
            self.read(&mut state, turn);
        }
        self.consider_prompt(&mut state);
        !state.unread.is_empty()
    }

    /// Goes on with the bytes that the last turn was too short for. True: so is this one.
    pub(super) fn read_on(self: &Arc<Self>, turn: &mut Turn) -> bool {
        let mut state = self.lock();
        if state.ended.is_some() {
            return false;
        }
        self.read(&mut state, turn);
        self.consider_prompt(&mut state);
        !state.unread.is_empty()
    }

    /// Reads what is unread, as far as the turn allows.
    fn read(self: &Arc<Self>, state: &mut State, turn: &mut Turn) {
        let mut bytes = std::mem::take(&mut state.unread);
        while !bytes.is_empty() && !matches!(state.meter, Seat::Lost) {
            let taken = self.inline(state, &bytes, turn);
            bytes.advance(taken);
            if taken > 0 {
                continue;
            }
            if turn.is_over() {
                break;
            }
            // The meter has counted enough for this turn, or the pool has it.
            if state.skim.is_none() {
                state.skim = self.look(state, |meter| Box::new(meter.lend()));
            }
            self.defer(state, &mut bytes, turn);
        }
        if !matches!(state.meter, Seat::Lost) {
            state.unread = bytes;
        }
    }

    /// Shows bytes to the meter, if it is here and not lent, for as much work as the turn allows. Returns how
    /// many it took.
    fn inline(&self, state: &mut State, bytes: &[u8], turn: &mut Turn) -> usize {
        self.rejoin(state);
        if state.skim.is_some() {
            return 0;
        }
        let (weighed_at, mut work_bytes, mut held_bytes) = (state.weighed_at, 0, None);
        let taken = self.look(state, |meter| {
            let budget = if meter.is_light() {
                &mut turn.skim_bytes
            } else if meter.held_bytes() > INLINE_BYTES_MAX {
                return 0; // it may be read as a whole now
            } else {
                &mut turn.count_bytes
            };
            if *budget == 0 {
                return 0;
            }
            let before = meter.work_bytes();
            let taken = meter.response_bytes(bytes, *budget);
            work_bytes = meter.work_bytes();
            let done_bytes = usize::try_from(work_bytes - before).unwrap_or(usize::MAX);
            *budget = if taken < bytes.len() { 0 } else { budget.saturating_sub(done_bytes) };
            if work_bytes - weighed_at >= WEIGH_EVERY_BYTES {
                held_bytes = Some(meter.memory_bytes());
            }
            taken
        });
        if let Some(held_bytes) = held_bytes {
            state.weighed_at = work_bytes;
            if !self.weigh(held_bytes) {
                self.give_up_count(state);
            }
        }
        self.note_first_token(state);
        taken.unwrap_or(0)
    }

    /// Reads bytes for what they report, and leaves them to the pool to be counted unless that is given up.
    fn defer(self: &Arc<Self>, state: &mut State, bytes: &mut Bytes, turn: &mut Turn) {
        let before = state.backlog.pinned_bytes();
        let (Some(skim), backlog) = (&mut state.skim, &mut state.backlog) else { return };
        let (counted, plain) = (!self.is_given_up(), skim.is_plain());
        let skimmed = catch_unwind(AssertUnwindSafe(|| {
            let work_before = skim.work_bytes();
            let taken = skim.push(bytes, turn.skim_bytes, |part| {
                if counted && !plain {
                    backlog.copy(part);
                }
            });
            (taken, skim.work_bytes() - work_before)
        }));
        let Ok((taken, work_bytes)) = skimmed else { return self.put_back(state, None) };
        let shown = bytes.split_to(taken);
        let work_bytes = usize::try_from(work_bytes).unwrap_or(usize::MAX);
        turn.skim_bytes = if bytes.is_empty() { turn.skim_bytes.saturating_sub(work_bytes) } else { 0 };
        if !counted {
            return;
        }
        if plain && !shown.is_empty() {
            state.backlog.push(shown);
        }
        let more_bytes = state.backlog.pinned_bytes() - before;
        let bounds = &self.accounts.bounds;
        let too_much = state.backlog.pinned_bytes() > bounds.call_backlog_bytes;
        if too_much || !self.accounts.backlog.try_add(self.holder, more_bytes) {
            let (_, pinned_bytes) = state.backlog.take();
            self.accounts.backlog.release(self.holder, pinned_bytes - more_bytes);
            self.give_up_count(state);
        } else if !state.backlog.is_empty() && !self.enqueue(state) {
            self.give_up_count(state);
        }
    }

    /// The answer is not counted any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.count_given_up.load(Ordering::Acquire)
    }

    /// Nobody has the time to count the answer: from here on it is only read for what it reports.
    pub(super) fn give_up_count(&self, state: &mut State) {
        let (_, pinned_bytes) = state.backlog.take();
        self.accounts.backlog.release(self.holder, pinned_bytes);
        if self.count_given_up.swap(true, Ordering::AcqRel) {
            return;
        }
        self.accounts.counters.meter_overload.fetch_add(1, Ordering::Relaxed);
        match state.skim.take() {
            // If it is away, it is told when it comes back.
            Some(skim) if matches!(state.meter, Seat::Away) => state.skim = Some(skim),
            Some(skim) => drop(self.look(state, |meter| meter.take_back(*skim, false))),
            None => drop(self.look(state, Meter::skim)),
        }
        self.weigh_again(state);
    }

    /// The meter holds so much of the answer. False: it must not.
    pub(super) fn weigh(&self, held_bytes: usize) -> bool {
        let (budget, bytes) = (&self.accounts.answers, held_bytes.saturating_sub(ANSWER_BYTES_FREE));
        let before = self.held_bytes.load(Ordering::Acquire);
        let fits = bytes <= before || budget.try_add(self.holder, bytes - before);
        if fits {
            self.held_bytes.store(bytes, Ordering::Release);
            budget.release(self.holder, before.saturating_sub(bytes));
        }
        fits
    }

    /// The meter holds less than before.
    fn weigh_again(&self, state: &mut State) {
        if let Some(held_bytes) = self.look(state, |meter| meter.memory_bytes()) {
            self.weigh(held_bytes);
        }
    }

    /// The meter has come back from the pool, where the network thread may have read on without it.
    pub(super) fn rejoin(&self, state: &mut State) {
        let given_up = self.is_given_up();
        if (given_up || state.backlog.is_empty())
            && matches!(state.meter, Seat::Here(_))
            && let Some(skim) = state.skim.take()
        {
            self.look(state, |meter| meter.take_back(*skim, !given_up));
            if given_up {
                self.weigh_again(state);
            }
        }
    }

    /// The answer is over and its meter light: reads what the last turn was too short for.
    pub(super) fn read_rest(&self, state: &mut State) {
        let mut bytes = std::mem::take(&mut state.unread);
        self.look(state, |meter| {
            while !bytes.is_empty() {
                bytes.advance(meter.response_bytes(&bytes, INLINE_BYTES_MAX));
            }
        });
    }

    pub(super) fn note_first_token(&self, state: &mut State) {
        if state.facts.first_token.is_none()
            && self.look(state, |meter| meter.first_token_seen()) == Some(true)
        {
            state.facts.first_token = Some(self.began.elapsed());
        }
    }
}
