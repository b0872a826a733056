//! Remembers which tokens may stand side by side.
//!
//! The question is asked for every byte of a long piece, and its answer takes a walk through the
//! joins of both tokens. In the worst texts, long runs of one character, the same few hundred
//! questions come again and again; remembered, they cost ten times less. A memo is shared by all
//! threads and all streams, so a stream need not hold one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::vocabulary::Rank;

/// Answers remembered: 32 KiB, which stays in the second-level cache.
const ANSWERS: usize = 4096;

/// Each slot holds one question whole and its answer, so slots need no order between them.
pub(super) struct Memo {
    slots: Box<[AtomicU64]>,
}

impl Memo {
    pub(super) fn new() -> Memo {
        // All bits set is no question: ranks have 18 bits.
        Memo { slots: (0..ANSWERS).map(|_| AtomicU64::new(u64::MAX)).collect() }
    }

    /// The answer for `left` and `right`, out of memory or by asking.
    #[inline(always)]
    pub(super) fn get(&self, left: Rank, right: Rank, ask: impl FnOnce() -> bool) -> bool {
        let question = u64::from(left) << 32 | u64::from(right) << 1;
        let slot = question.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - ANSWERS.trailing_zeros());
        let slot = &self.slots[slot as usize];
        let known = slot.load(Ordering::Relaxed);
        if known & !1 == question {
            return known & 1 == 1;
        }
        let answer = ask();
        slot.store(question | u64::from(answer), Ordering::Relaxed);
        answer
    }
}
