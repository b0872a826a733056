//! Delivered events go after a while, or as soon as room is short. Undelivered ones never go.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::StoreError;
use super::store::Store;

/// Events looked at in one step: a transaction of a few milliseconds.
const ROWS_MIN: u64 = 512;

/// The same where thousands came with the last commit: some tens of milliseconds.
const ROWS_MAX: u64 = 8_192;

/// How often events are looked through while there is nothing to delete.
const IDLE: Duration = Duration::from_secs(10);

/// How far the deletion of delivered events has come.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Duration,
    /// Everything up to here is gone, or refused.
    hand: u64,
    /// When to look again.
    pub(super) due: Instant,
}

impl Retention {
    /// Deletes events that are older than `keep`, beginning at `now`.
    pub(super) fn new(keep: Duration, now: Instant) -> Retention {
        Retention { keep, hand: 0, due: now }
    }

    /// Deletes a few delivered events, oldest first: old ones, or any while room is `short`. After a
    /// commit of `stored` events up to twice as many go, so that deleting is never slower than
    /// storing. Returns whether any went.
    pub(super) fn step(
        &mut self,
        store: &mut Store,
        mark: u64,
        short: bool,
        stored: u64,
    ) -> Result<bool, StoreError> {
        let keep_ms = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let before = if short { i64::MAX } else { Timestamp::now().as_millisecond().saturating_sub(keep_ms) };
        let rows = (2 * stored).clamp(ROWS_MIN, ROWS_MAX);
        let hand = store.retire(self.hand, mark, before, rows)?;
        debug_assert!(hand == self.hand || hand <= mark, "what is not delivered stays");
        let moved = hand > self.hand;
        self.hand = hand;
        self.due = Instant::now() + if moved { Duration::ZERO } else { IDLE };
        Ok(moved)
    }
}
