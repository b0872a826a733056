//! Remembers, for the worst texts, which tokens may stand side by side, and which one comes next.
//!
//! The question is asked for every byte of a long piece, and its answer takes a walk through the
//! joins of both tokens. In the worst texts, long runs of one character, the same few hundred
//! questions come again and again; remembered, they cost ten times less. A memo is shared by all
//! threads and all streams, so a stream need not hold one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{NO_RANK, Rank};

/// Answers remembered: 32 KiB, which stays in the second-level cache.
const ANSWERS: usize = 4096;

type Slots = Box<[AtomicU64]>;

/// All bits set is no question: none has 64 bits.
fn empty() -> Slots {
    (0..ANSWERS).map(|_| AtomicU64::new(u64::MAX)).collect()
}

#[inline(always)]
fn slot(slots: &Slots, question: u64) -> &AtomicU64 {
    let hash = question.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &slots[(hash >> (64 - ANSWERS.trailing_zeros())) as usize]
}

/// May these two stand side by side?
///
/// Each slot holds one question whole and its answer, so slots need no order between them.
pub(super) struct Memo {
    slots: Slots,
}

impl Memo {
    pub(super) fn new() -> Memo {
        Memo { slots: empty() }
    }

    /// The answer for `left` and `right`, out of memory or by asking.
    #[inline(always)]
    pub(super) fn get(&self, left: Rank, right: Rank, ask: impl FnOnce() -> bool) -> bool {
        let question = u64::from(left) << 32 | u64::from(right) << 1;
        let slot = slot(&self.slots, question);
        let known = slot.load(Ordering::Relaxed);
        if known & !1 == question {
            return known & 1 == 1;
        }
        let answer = ask();
        slot.store(question | u64::from(answer), Ordering::Relaxed);
        answer
    }
}

/// Which token was right in this place, when the one before was this?
///
/// Any answer is only a guess: what comes before the two can make it wrong.
pub(super) struct Hints {
    slots: Slots,
}

impl Hints {
    pub(super) fn new() -> Hints {
        Hints { slots: empty() }
    }

    /// A token that was right at `place`: a node of the trie, or a rank.
    #[inline(always)]
    pub(super) fn get(&self, place: u32, before: Rank) -> Option<Rank> {
        let question = Hints::question(place, before);
        let known = slot(&self.slots, question).load(Ordering::Relaxed);
        (known & !u64::from(NO_RANK) == question).then_some(known as Rank & NO_RANK)
    }

    pub(super) fn set(&self, place: u32, before: Rank, token: Rank) {
        let question = Hints::question(place, before);
        slot(&self.slots, question).store(question | u64::from(token), Ordering::Relaxed);
    }

    /// Above the bits of the answer: 20 bits of a place, 18 of a rank.
    #[inline(always)]
    fn question(place: u32, before: Rank) -> u64 {
        (u64::from(place) << 18 | u64::from(before)) << 18
    }
}
