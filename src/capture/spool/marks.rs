//! How far a spool is stored and delivered, and which database it is in: shared by its writer and its publisher, of which
//! neither waits for the other's work.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::counters::CaptureCounters;

/// See the head of this file.
#[derive(Debug)]
pub(in crate::capture) struct SpoolMarks {
    counters: Arc<CaptureCounters>,
    reached: Mutex<Reached>,
    stored_more: Condvar,
}

#[derive(Debug, Default)]
struct Reached {
    stored: u64,
    delivered: u64,
    /// Positions that the broker refuses and that are not noted yet, with its words.
    refused: Vec<(u64, String)>,
    ended: bool,
    /// The databases that were given up before the one in use.
    replaced: u64,
    /// Why the reader says that this one is damaged.
    damage: Option<String>,
}

impl SpoolMarks {
    /// Marks of a spool that holds nothing. `counters` show how much is not delivered, also when the writer is gone.
    pub(super) fn new(counters: Arc<CaptureCounters>) -> SpoolMarks {
        SpoolMarks { counters, reached: Mutex::default(), stored_more: Condvar::new() }
    }

    /// Position of the last row that is stored and durable.
    pub(super) fn stored(&self) -> u64 {
        self.lock().stored
    }

    /// Waits until more than `after` is stored, nothing more will be, or `time` is over.
    pub(super) fn wait_stored(&self, after: u64, time: Duration) -> u64 {
        let waits = |reached: &mut Reached| reached.stored <= after && !reached.ended;
        let waited = self.stored_more.wait_timeout_while(self.lock(), time, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.stored
    }

    pub(super) fn set_stored(&self, position: u64) {
        self.change(|reached| reached.stored = position);
        self.stored_more.notify_all();
    }

    /// Every row up to this position is delivered or refused.
    pub(super) fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    pub(super) fn set_delivered(&self, position: u64) {
        self.change(|reached| reached.delivered = reached.delivered.max(position));
    }

    fn change(&self, change: impl FnOnce(&mut Reached)) {
        let mut reached = self.lock();
        change(&mut reached);
        let undelivered = reached.stored.saturating_sub(reached.delivered);
        self.counters.undelivered.store(undelivered, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, position: u64, reason: String) {
        self.lock().refused.push((position, reason));
    }

    /// Something is to be noted by a spool that has noted the deliveries up to `mark`.
    pub(super) fn has_news(&self, mark: u64) -> bool {
        let reached = self.lock();
        reached.delivered > mark || !reached.refused.is_empty()
    }

    /// The mark, and the refusals before it: what is to be noted.
    pub(super) fn take(&self) -> (u64, Vec<(u64, String)>) {
        let mut reached = self.lock();
        (reached.delivered, std::mem::take(&mut reached.refused))
    }

    /// What could not be noted comes back.
    pub(super) fn put_back(&self, mut refused: Vec<(u64, String)>) {
        let mut reached = self.lock();
        refused.append(&mut reached.refused);
        reached.refused = refused;
    }

    /// The number of the database in use.
    pub(super) fn database(&self) -> u64 {
        self.lock().replaced
    }

    /// The reader has found the database of this number damaged.
    pub(super) fn found_damage(&self, database: u64, why: String) {
        let mut reached = self.lock();
        if reached.replaced == database {
            reached.damage = Some(why);
        }
    }

    /// Takes the damage that the reader has found since it was asked last.
    pub(super) fn take_damage(&self) -> Option<String> {
        self.lock().damage.take()
    }

    /// The database in use was given up for another one.
    pub(super) fn replaced(&self) {
        let mut reached = self.lock();
        (reached.replaced, reached.damage) = (reached.replaced + 1, None);
    }

    /// Nothing more will be stored.
    pub(in crate::capture) fn end(&self) {
        self.lock().ended = true;
        self.stored_more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
