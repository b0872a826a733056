//! The thread that writes: one batch, one transaction.
//!
//! The writer is in one of two states. *Healthy*: every batch becomes a transaction at once, which waits for no disk.
//! *Failing*: the last transaction, or a sync behind it, reported an error, so nothing is stored and calls are summed, until
//! a try succeeds; `failing` has that state and the way out of it.
//!
//! Healthy or back from failing, no sum waits for longer than [`SUMS_EVERY`]: calls that began without a
//! slot end long after the state that took it from them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::batch::{Batch, ControlDue, OpenCalls};
use super::error::OpenError;
use super::failing::{Failing, RETRY_MIN};
use super::lock::Marker;
use super::op::{Op, Pending};
use super::options::LedgerOptions;
use super::queue::OpQueue;
use super::quota::{Quota, Volume};
use super::status_log::StatusLog;
use super::storage::Storage;
use super::syncer::Syncer;

/// Ended calls that may still have a row in `open`: enough that whole pages come free at once.
const UNSWEPT_MAX: usize = 4_096;

/// Events that recovery may have to look through for settled calls.
const UNSWEPT_EVENTS_MAX: u64 = 16_384;

/// How often sums are stored, at most: a payer's calls that end meanwhile are one event, and so few are
/// lost with a crash.
const SUMS_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked whether sums that were stored are durable.
const SUMS_SYNCED_EVERY: Duration = Duration::from_millis(50);

/// For how long tries go on once the end is asked for.
const LAST_TRIES: Duration = Duration::from_secs(2);

/// The database's only writer.
pub(super) struct Writer {
    queue: Arc<OpQueue>,
    pub(super) storage: Storage,
    boot: String,
    pub(super) calls: OpenCalls,
    /// `None` in the healthy state.
    pub(super) failing: Option<Failing>,
    marker: Marker,
    /// When sums that wait in the healthy state are stored.
    pub(super) sums_due: Option<Instant>,
    /// Before that a ledger that fails does not store sums again.
    sums_again_at: Instant,
    /// The transaction that stored sums last, until it is durable: a loss of power would take them.
    sums_unsynced: Option<u64>,
    status_log: StatusLog,
    /// The end is asked for.
    ending: bool,
    control_interval: Duration,
    control_at: Instant,
}

/// The outcome of a try.
enum Tried {
    Healthy,
    /// The database works, but has no room for calls.
    Full {
        /// More may be deleted at once.
        more: bool,
    },
}

impl Writer {
    /// Opens the database and recovers.
    pub(super) fn open(
        options: &LedgerOptions,
        quota: Quota,
        queue: Arc<OpQueue>,
        mut marker: Marker,
    ) -> Result<Writer, OpenError> {
        let storage = Storage::open(options, quota, Arc::clone(&queue), &mut marker)?;
        let now = Instant::now();
        Ok(Writer {
            calls: OpenCalls::new(quota.batch_ops()),
            boot: storage.log.boot.id.to_string(),
            queue,
            storage,
            failing: None,
            marker,
            sums_due: None,
            sums_again_at: now,
            sums_unsynced: None,
            status_log: StatusLog::default(),
            ending: false,
            control_interval: options.control_interval,
            control_at: now + options.control_interval,
        })
    }

    pub(super) fn source(&self) -> &str {
        &self.storage.source
    }

    pub(super) fn boot(&self) -> Uuid {
        self.storage.log.boot.id
    }

    /// The thread's work that makes durable what this one stores.
    pub(super) fn syncer(&self) -> Arc<Syncer> {
        Arc::clone(&self.storage.syncer)
    }

    /// Writes until the ledger is stopped.
    pub(super) fn run(mut self) {
        loop {
            let work = self.queue.gather(self.wake_at());
            let (finish, stop) = (work.finish, work.stop);
            self.step(work);
            if finish || stop {
                self.end_well();
            }
            if finish {
                self.queue.finished(self.unstored());
            }
            if stop {
                break;
            }
        }
        self.say_that_it_is_over(true);
        let unstored = self.unstored();
        if unstored > 0 {
            tracing::error!(dir = %self.storage.dir.display(), calls = unstored, "the ledger ends without storing these");
        }
        self.storage.close_after_copies();
        self.queue.ended(unstored);
    }

    /// One round: what came in is stored, or summed while nothing can be stored.
    pub(super) fn step(&mut self, work: Pending) {
        self.ending |= work.finish || work.stop;
        if self.failing.is_none()
            && let Some(error) = self.storage.sync_failure()
        {
            self.fail(&error);
        }
        if self.failing.is_some() {
            self.queue.put_back_marks(work.mark, work.refused);
            self.absorb(work.ops);
            self.try_again_if_due();
        } else {
            let batch = self.batch(work);
            if let Err(error) = self.write(batch).and_then(|events| self.storage.make_room(events)) {
                self.fail(&error);
            }
        }
        self.say_that_it_is_over(false);
        self.mark_state();
    }

    /// Writes a batch, and remembers whether sums are in it.
    fn write(&mut self, batch: Batch) -> Result<u64, OpenError> {
        let sums = !batch.sums.is_empty();
        let events = self.storage.write(batch)?;
        if sums {
            self.sums_unsynced = Some(self.storage.log.commits);
        }
        Ok(events)
    }

    /// Leaves a note for the next start, in case there is no time for it later.
    fn mark_state(&mut self) {
        self.sums_unsynced = self.sums_unsynced.filter(|commits| !self.storage.is_synced(*commits));
        let in_memory = self.failing.is_some() || self.queue.sums_wait();
        self.marker.set(in_memory || self.sums_unsynced.is_some());
    }

    fn wake_at(&self) -> Instant {
        match &self.failing {
            Some(failing) => failing.wake_at(),
            None if self.calls.has_unwritten() => Instant::now(),
            None if self.sums_unsynced.is_some() => Instant::now() + SUMS_SYNCED_EVERY,
            None => {
                let others = [self.sums_due, self.status_log.due()].into_iter().flatten();
                others.fold(self.control_at.min(self.storage.retention_due()), Instant::min)
            }
        }
    }

    /// Makes the batch that is written now.
    fn batch(&mut self, work: Pending) -> Batch {
        let mut batch = self.calls.batch(work.ops, &self.boot);
        (batch.mark, batch.refused) = (work.mark, work.refused);
        batch.degraded = self.queue.sums_wait();
        let now = Instant::now();
        if work.finish || now >= self.control_at {
            self.end_period(&mut batch);
        } else if batch.degraded && now >= *self.sums_due.get_or_insert(now + SUMS_EVERY) {
            self.take_sums(&mut batch);
        }
        let old = self.storage.log.last - self.storage.log.swept > UNSWEPT_EVENTS_MAX;
        let unswept = self.calls.unswept.len();
        if unswept >= UNSWEPT_MAX || (unswept > 0 && (old || work.finish)) {
            batch.sweep = self.calls.sweep();
        }
        batch
    }

    /// Makes the batch that ends the failing state: the sums, and in the same transaction the rows
    /// of all calls that are in them, so that a crash can give no call twice.
    fn recovery_batch(&mut self) -> Batch {
        let mut batch = self.calls.batch(VecDeque::new(), &self.boot);
        (batch.mark, batch.refused) = self.queue.take_marks();
        batch.degraded = true;
        self.end_period(&mut batch);
        batch.sweep = self.calls.sweep();
        batch
    }

    /// Sums and control event.
    fn end_period(&mut self, batch: &mut Batch) {
        self.control_at = Instant::now() + self.control_interval;
        self.take_sums(batch);
        let open = self.calls.count();
        // After the last control event of a boot there is no other.
        if !self.storage.log.boot.finished {
            batch.control = Some(ControlDue { open, last: self.ending && open == 0 });
        }
    }

    /// Sums. In the healthy state none of their calls has a row: those that have one are summed, and
    /// their sums stored, while the ledger fails.
    fn take_sums(&mut self, batch: &mut Batch) {
        batch.sums = self.queue.take_sums();
        batch.notes = self.queue.take_notes();
        self.sums_due = None;
        if !batch.sums.is_empty() {
            self.sums_again_at = Instant::now() + SUMS_EVERY;
        }
    }

    /// Something failed: the database is closed, and the next try is due after a pause.
    fn fail(&mut self, error: &OpenError) {
        let closed = self.storage.close_after(error);
        self.queue.set_failing(true);
        let now = Instant::now();
        if self.failing.is_none() {
            self.status_log.begins();
        }
        let failing = self.failing.get_or_insert_with(|| Failing::new(now));
        failing.retry_later(now, self.sums_again_at, closed.free);
        let said = self.say(&error.to_string());
        if said && closed.released {
            tracing::warn!(dir = %self.storage.dir.display(), "the volume is full; the ballast is given up for marks, deletions and sums");
        }
    }

    /// Calls that began or ended while nothing can be stored.
    fn absorb(&mut self, ops: VecDeque<Op>) {
        let (ended, bills) = self.calls.absorb(ops);
        if !ended.is_empty() {
            self.queue.sum_instead(&ended);
        }
        self.queue.give_back(bills);
    }

    fn try_again_if_due(&mut self) {
        let (storage, now) = (&self.storage, Instant::now());
        let margin = storage.quota.wal_kept / 2;
        if self.failing.as_mut().is_some_and(|failing| failing.is_due(now, margin, || storage.free())) {
            self.try_again();
        }
    }

    /// One try to get out of the failing state.
    pub(super) fn try_again(&mut self) {
        match self.attempt() {
            Ok(Tried::Healthy) => self.healthy(),
            Ok(Tried::Full { more }) => {
                if let Some(failing) = &mut self.failing {
                    failing.tidy_later(Instant::now(), more);
                }
                self.say("no room: undelivered events fill the quota, or the volume is full");
            }
            Err(error) => self.fail(&error),
        }
    }

    fn attempt(&mut self) -> Result<Tried, OpenError> {
        if self.ending {
            // The room was kept for this.
            self.storage.release_ballast();
        }
        if let Some(batch) = self.storage.reopen()? {
            self.lost(batch);
        }
        let (mark, refused) = self.queue.take_marks();
        self.write(Batch { mark, refused, ..Batch::default() })?;
        let more = self.storage.tidy()?;
        if !self.ending && !self.storage.has_room()? {
            return Ok(Tried::Full { more });
        }
        let batch = self.recovery_batch();
        self.write(batch)?;
        self.storage.limit(self.storage.quota.events)?;
        Ok(Tried::Healthy)
    }

    /// A batch was not committed: what it held goes back to where it came from, and its ended calls
    /// to the sums.
    fn lost(&mut self, mut batch: Batch) {
        let ended = self.calls.lost(&mut batch);
        self.queue.give_back(batch.bills.len());
        self.queue.put_back_notes(batch.notes);
        self.queue.sum_instead(&ended);
        self.queue.put_back_sums(batch.sums);
        self.queue.put_back_marks(batch.mark, batch.refused);
    }

    fn healthy(&mut self) {
        self.queue.set_failing(false);
        if self.failing.take().is_some() {
            self.status_log.gets_well(Instant::now());
        }
    }

    /// Logs that calls are stored one by one again, once that has lasted for a moment or is the `last`
    /// word.
    fn say_that_it_is_over(&mut self, last: bool) {
        let Some(over) = self.status_log.over(Instant::now(), last) else { return };
        tracing::warn!(
            dir = %self.storage.dir.display(),
            calls_summed = self.queue.stats().summed,
            after = ?over.after,
            times = over.times,
            "the ledger stores calls one by one again"
        );
    }

    /// The last tries, once the end is asked for: sums and the last control event may use the
    /// ballast and the quota's reserve.
    pub(super) fn end_well(&mut self) {
        let until = Instant::now() + LAST_TRIES;
        loop {
            if self.failing.is_some() {
                self.try_again();
            }
            if self.failing.is_none() && self.calls.has_unwritten() {
                self.step(Pending::default());
            } else if self.is_durable() || Instant::now() >= until {
                self.mark_state();
                return;
            } else {
                std::thread::sleep(RETRY_MIN);
            }
        }
    }

    /// Waits for the disk. Returns whether all is stored and durable.
    fn is_durable(&mut self) -> bool {
        if self.failing.is_none()
            && let Err(error) = self.storage.sync()
        {
            self.fail(&error);
        }
        self.failing.is_none()
    }

    #[cfg(test)]
    pub(super) fn queue_of_test(&self) -> &Arc<OpQueue> {
        &self.queue
    }

    /// Calls that only memory knows of.
    pub(super) fn unstored(&self) -> u64 {
        let doubt = self.storage.doubt.as_ref().map_or(0, Batch::calls);
        doubt + self.queue.calls_in_sums() + self.calls.unwritten()
    }

    /// Logs the state when it begins and every now and then. Returns whether that was now.
    fn say(&mut self, why: &str) -> bool {
        let said = self.status_log.fails(Instant::now());
        if said {
            tracing::error!(
                dir = %self.storage.dir.display(),
                error = why,
                calls_summed = self.queue.stats().summed,
                "the ledger cannot store calls one by one; they are summed in memory until it can"
            );
        }
        said
    }
}

/// The room that a ledger in a directory has.
pub(super) fn quota(options: &LedgerOptions) -> Quota {
    Quota::new(options.max_bytes, Volume::of(&options.dir).total)
}
