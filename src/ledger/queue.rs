//! The bounded way from any thread to the writer.
//!
//! A slot is taken before a call begins and given back when its event is committed or the call is
//! summed, so there are never more than two operations per slot in memory and no push can find the
//! queue full. While the ledger is failing no slot is given out. The lock is held for a push or a
//! swap, never for I/O.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::batch::Closed;
use super::bill::{Bill, DeferredNote};
use super::error::CloseError;
use super::op::{EndedByCommit, Op, Pending};
use super::queue_state::{Lifecycle, QueueState};
use super::quota::Quota;
use super::stats::LedgerStats;
use super::sums::{Sum, Sums};
use metering::usage::{Deferral, Progress, Settled, Usage};

/// How long the writer gathers after the first operation: what the death of the process can cost, beside a commit
/// that waits for no disk. Half of it would cost a third more CPU for each call.
const BATCH: Duration = Duration::from_millis(4);

/// How long a mark alone waits for company: re-sending 200 ms of events is harmless, an idle
/// ledger that syncs a hundred times a second is not.
const MARK_MS: u64 = 200;

/// Refused events that wait for the writer; beyond it the publisher's mark waits too. They come
/// one by one, each after three tries.
const REFUSED_MAX: usize = 1_024;

/// The news that may wait of the call that has a slot: that it opened, and that it is settled.
const OPS_PER_SLOT: usize = 2;

/// Checkpoints that may wait, per slot: a batch that is a second late is soon made up for.
const CHECKPOINTS_PER_SLOT: usize = 2;

/// The state that the writer's last commit left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Committed {
    pub(super) position: u64,
    pub(super) delivered: u64,
    pub(super) stored: u64,
    pub(super) delivered_since_boot: u64,
    pub(super) refused: u64,
    pub(super) ended: bool,
}

/// How far the ledger has come for those who wait.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    committed: Committed,
    /// Position of the last event that is durable.
    synced: u64,
}

type DurationObserver = Box<dyn Fn(Duration) + Send + Sync>;
type BillObserver = Box<dyn Fn(&Settled) + Send + Sync>;

/// The queue of operations, with the counters: shared by the writer and every thread that has calls.
pub(super) struct OpQueue {
    slots: usize,
    /// Operations in one transaction.
    batch_ops: usize,
    bytes_max: u64,
    bytes: AtomicU64,
    /// When the first undelivered event was stored; 0 if there is none.
    oldest_ms: AtomicI64,
    /// Events that were stored and are lost.
    lost: AtomicU64,
    /// Damaged databases beside this one.
    moved_aside: AtomicU64,
    queue: Mutex<QueueState>,
    work: Condvar,
    done: Condvar,
    sums: Mutex<Sums>,
    reached: Mutex<Reached>,
    progress: Condvar,
    on_commit: OnceLock<DurationObserver>,
    on_sync: OnceLock<DurationObserver>,
    on_billed: OnceLock<BillObserver>,
}

impl fmt::Debug for OpQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpQueue").field("slots", &self.slots).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpQueue {
    pub(super) fn new(slots: usize, quota: &Quota) -> OpQueue {
        OpQueue {
            slots,
            batch_ops: quota.batch_ops(),
            bytes_max: quota.max,
            bytes: AtomicU64::new(0),
            oldest_ms: AtomicI64::new(0),
            lost: AtomicU64::new(0),
            moved_aside: AtomicU64::new(0),
            queue: Mutex::new(QueueState { free: slots, ..QueueState::default() }),
            work: Condvar::new(),
            done: Condvar::new(),
            sums: Mutex::new(Sums::new(quota.sums())),
            reached: Mutex::default(),
            progress: Condvar::new(),
            on_commit: OnceLock::new(),
            on_sync: OnceLock::new(),
            on_billed: OnceLock::new(),
        }
    }

    // For any thread.

    pub(super) fn reserve(&self) -> bool {
        let mut queue = locked(&self.queue);
        let some = queue.has_slot();
        queue.free -= usize::from(some);
        some
    }

    pub(super) fn give_back(&self, slots: usize) {
        if slots == 0 {
            return;
        }
        let mut queue = locked(&self.queue);
        queue.free += slots;
        debug_assert!(queue.free <= self.slots, "a slot is given back once");
    }

    pub(super) fn open(&self, id: Uuid, draft: Arc<Usage>) {
        self.push(Op::Open { id, draft }, |queue| queue.accepted += 1);
    }

    pub(super) fn settle(&self, settled: Settled, deferral: Option<Deferral>) {
        self.push(Op::Settle(Box::new(settled), deferral), |_| {});
    }

    /// Takes a bill, and a slot for it. False: there is none.
    pub(super) fn bill(&self, bill: Bill) -> bool {
        let mut queue = locked(&self.queue);
        let some = queue.has_slot();
        if some {
            queue.free -= 1;
            self.enqueue(&mut queue, Op::Bill(Box::new(bill)));
        }
        some
    }

    /// A call that is in a sum has begun work.
    pub(super) fn note_deferral(&self, note: DeferredNote) {
        locked(&self.sums).note(note);
    }

    pub(super) fn checkpoint(&self, batch: Vec<(Uuid, Progress)>) {
        let entries = batch.len();
        if entries == 0 {
            return;
        }
        let mut queue = locked(&self.queue);
        if queue.phase == Lifecycle::Running
            && queue.checkpoints + entries <= CHECKPOINTS_PER_SLOT * self.slots
        {
            queue.checkpoints += entries;
            self.enqueue(&mut queue, Op::Checkpoint(batch));
        }
    }

    pub(super) fn sum(&self, settled: &Settled) {
        // The sums' lock is held across both, so that the writer never takes a sum uncounted.
        let mut sums = locked(&self.sums);
        let mut queue = locked(&self.queue);
        queue.accepted += 1;
        queue.summed += 1;
        let late = queue.phase != Lifecycle::Running;
        if sums.is_empty() {
            queue.summing = true;
            self.work.notify_one();
        }
        drop(queue);
        if late {
            tracing::error!(id = %settled.id, "a call ended after the ledger was closed; it is not accounted for");
        }
        sums.add(settled);
    }

    pub(super) fn mark_delivered(&self, position: u64) {
        let mut queue = locked(&self.queue);
        if position > queue.mark {
            queue.mark = position;
            queue.mark_changed = true;
            self.work.notify_one();
        }
    }

    pub(super) fn mark_refused(&self, position: u64, reason: &str) {
        let mut queue = locked(&self.queue);
        // At the end it does not wait: what is left to deliver is bounded by then.
        while queue.refused.len() >= REFUSED_MAX && !queue.stop_asked && !queue.finish_asked {
            queue = self.done.wait_timeout(queue, BATCH).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.refused.push((position, reason.to_owned()));
        self.work.notify_one();
    }

    pub(super) fn stats(&self) -> LedgerStats {
        let queue = locked(&self.queue);
        let Reached { committed, synced } = *locked(&self.reached);
        debug_assert!(queue.settled + queue.summed <= queue.accepted, "a call ends once");
        let oldest_ms = Some(self.oldest_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0);
        let waits = committed.position > committed.delivered;
        let oldest_ms = oldest_ms.filter(|_| waits);
        let oldest_undelivered = oldest_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        LedgerStats {
            accepted: queue.accepted,
            settled: queue.settled,
            open: queue.accepted - queue.settled - queue.summed,
            summed: queue.summed,
            stored: committed.stored,
            delivered: committed.delivered_since_boot,
            refused: committed.refused,
            unsynced: committed.position.saturating_sub(synced),
            undelivered: committed.position - committed.delivered,
            oldest_undelivered,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_max: self.bytes_max,
            lost: self.lost(),
            moved_aside: self.moved_aside.load(Ordering::Relaxed),
            degraded: queue.failing || queue.free == 0,
        }
    }

    pub(super) fn on_commit(&self, observer: DurationObserver) {
        // A second observer is ignored, as documented.
        let _ = self.on_commit.set(observer);
    }

    pub(super) fn on_sync(&self, observer: DurationObserver) {
        let _ = self.on_sync.set(observer);
    }

    pub(super) fn on_billed(&self, observer: BillObserver) {
        let _ = self.on_billed.set(observer);
    }

    pub(super) fn wait_stored(&self, after: u64, timeout: Duration) -> u64 {
        self.wait_reached(after, timeout, |reached| reached.committed.position)
    }

    pub(super) fn wait_synced(&self, after: u64, timeout: Duration) -> u64 {
        self.wait_reached(after, timeout, |reached| reached.synced)
    }

    fn wait_reached(&self, after: u64, timeout: Duration, position: fn(&Reached) -> u64) -> u64 {
        let reached = locked(&self.reached);
        let waited = self.progress.wait_timeout_while(reached, timeout, |reached| {
            position(reached) <= after && !reached.committed.ended
        });
        position(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn delivered(&self) -> u64 {
        locked(&self.reached).committed.delivered
    }

    pub(super) fn finish(&self) -> Result<(), CloseError> {
        let mut queue = locked(&self.queue);
        queue.finish_asked = true;
        self.work.notify_all();
        loop {
            match queue.phase {
                Lifecycle::Finished(0) => return Ok(()),
                Lifecycle::Finished(unstored) => return Err(CloseError { unstored }),
                _ => queue = self.done.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(super) fn stop(&self) {
        locked(&self.queue).stop_asked = true;
        self.work.notify_all();
    }

    fn push(&self, op: Op, count: impl FnOnce(&mut QueueState)) {
        let mut queue = locked(&self.queue);
        count(&mut queue);
        if queue.phase == Lifecycle::Running {
            self.enqueue(&mut queue, op);
        } else {
            drop(queue);
            tracing::error!(
                "a call changed after the ledger was closed; if it was known to be open, the next start settles it as crashed"
            );
        }
    }

    fn enqueue(&self, queue: &mut QueueState, op: Op) {
        queue.ops.push_back(op);
        let ops_max = OPS_PER_SLOT * self.slots + queue.checkpoints;
        debug_assert!(queue.ops.len() <= ops_max, "two operations for each slot");
        if queue.idle || queue.ops.len() == self.batch_ops {
            queue.idle = false;
            self.work.notify_one();
        }
    }

    // For the writer.

    /// Waits for something to store, then gathers for a moment. While calls come and go it looks by the clock, so that
    /// nobody has to wake it. Returns what there is at `deadline` even if that is nothing. While the ledger is failing, marks and refused events
    /// stay here until [`OpQueue::take_marks`].
    pub(super) fn gather(&self, deadline: Instant) -> Pending {
        let mut queue = locked(&self.queue);
        if queue.busy {
            queue = self.wait_for_batch(queue, deadline);
        }
        let gathered = !queue.ops.is_empty();
        queue.idle = !gathered;
        queue = self.wait(queue, deadline, |queue| {
            queue.ops.is_empty() && !queue.marks_wait() && !queue.summing && !queue.alarm && !queue.ending()
        });
        if queue.ops.is_empty() && queue.marks_wait() {
            let company = deadline.min(Instant::now() + Duration::from_millis(MARK_MS));
            queue =
                self.wait(queue, company, |queue| queue.ops.is_empty() && !queue.alarm && !queue.ending());
        }
        queue.idle = false;
        if !gathered && !queue.ops.is_empty() {
            queue = self.wait_for_batch(queue, Instant::now() + BATCH);
        }
        queue.busy = !queue.ops.is_empty();
        queue.take(self.batch_ops)
    }

    /// Waits until a batch's time is over, or as much has come as one transaction holds.
    fn wait_for_batch<'a>(
        &self,
        queue: MutexGuard<'a, QueueState>,
        deadline: Instant,
    ) -> MutexGuard<'a, QueueState> {
        let until = deadline.min(Instant::now() + BATCH);
        self.wait(queue, until, |queue| queue.ops.len() < self.batch_ops && !queue.alarm && !queue.ending())
    }

    /// All that there is, without waiting.
    #[cfg(test)]
    pub(super) fn take_now(&self) -> Pending {
        locked(&self.queue).take(usize::MAX)
    }

    #[cfg(test)]
    pub(super) fn free_slots(&self) -> usize {
        locked(&self.queue).free
    }

    /// Nothing waits for the writer but marks.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        locked(&self.queue).ops.is_empty()
    }

    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, QueueState>,
        until: Instant,
        more: impl FnMut(&mut QueueState) -> bool,
    ) -> MutexGuard<'a, QueueState> {
        let time = until.saturating_duration_since(Instant::now());
        let waited = self.work.wait_timeout_while(queue, time, more);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The publisher's marks and the refused events that came since they were last taken.
    pub(super) fn take_marks(&self) -> (u64, Vec<(u64, String)>) {
        locked(&self.queue).take_marks()
    }

    /// Marks and refused events that could not be stored.
    pub(super) fn put_back_marks(&self, mark: u64, mut refused: Vec<(u64, String)>) {
        let mut queue = locked(&self.queue);
        queue.mark_changed |= mark > 0;
        refused.append(&mut queue.refused);
        queue.refused = refused;
    }

    pub(super) fn take_sums(&self) -> Vec<Sum> {
        locked(&self.sums).take()
    }

    pub(super) fn put_back_sums(&self, sums: Vec<Sum>) {
        locked(&self.sums).put_back(sums);
    }

    pub(super) fn take_notes(&self) -> Vec<DeferredNote> {
        locked(&self.sums).take_notes()
    }

    pub(super) fn put_back_notes(&self, notes: Vec<DeferredNote>) {
        locked(&self.sums).put_back_notes(notes);
    }

    pub(super) fn sums_wait(&self) -> bool {
        !locked(&self.sums).is_empty()
    }

    /// Calls with a slot ended while nothing could be stored: each is in a sum from here on, and its
    /// slot is free.
    pub(super) fn sum_instead(&self, ended: &[Closed]) {
        let mut sums = locked(&self.sums);
        let mut queue = locked(&self.queue);
        queue.summed += ended.len() as u64;
        queue.free += ended.len();
        drop(queue);
        for Closed { settled, deferral, .. } in ended {
            sums.add(settled);
            if let Some(deferral) = deferral {
                sums.note(DeferredNote::of(settled, deferral));
            }
        }
    }

    /// A transaction is committed, and so much with it; the slots are free again.
    pub(super) fn committed(&self, state: Committed, ended: EndedByCommit, took: Option<Duration>) {
        if ended.slots > 0 {
            let mut queue = locked(&self.queue);
            // A bill is a call that began and ended with it.
            queue.accepted += ended.billed;
            queue.settled += ended.calls + ended.billed;
            queue.free += ended.slots;
        }
        locked(&self.reached).committed = state;
        self.progress.notify_all();
        if let (Some(took), Some(observer)) = (took, self.on_commit.get()) {
            observer(took);
        }
    }

    /// Everything up to a position is durable, by a sync that took so long.
    pub(super) fn synced(&self, position: u64, took: Option<Duration>) {
        locked(&self.reached).synced = position;
        self.progress.notify_all();
        if let (Some(took), Some(observer)) = (took, self.on_sync.get()) {
            observer(took);
        }
    }

    /// Tells the observer of a bill that is stored.
    pub(super) fn billed(&self, settled: &Settled) {
        if let Some(observer) = self.on_billed.get() {
            observer(settled);
        }
    }

    /// Wakes the writer, since what is stored could not be made durable.
    pub(super) fn alarm(&self) {
        locked(&self.queue).alarm = true;
        self.work.notify_one();
    }

    pub(super) fn set_failing(&self, failing: bool) {
        locked(&self.queue).failing = failing;
    }

    pub(super) fn measured_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn measured_oldest(&self, stored: Option<Timestamp>) {
        let ms = stored.map_or(0, Timestamp::as_millisecond);
        self.oldest_ms.store(ms, Ordering::Relaxed);
    }

    /// Counts events that were stored and are lost.
    pub(super) fn count_lost(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn found_moved_aside(&self, databases: u64) {
        self.moved_aside.store(databases, Ordering::Relaxed);
    }

    pub(super) fn calls_in_sums(&self) -> u64 {
        locked(&self.sums).calls()
    }

    /// Every operation is committed, but for `unstored`.
    pub(super) fn finished(&self, unstored: u64) {
        locked(&self.queue).phase = Lifecycle::Finished(unstored);
        self.done.notify_all();
    }

    /// The writer is gone.
    pub(super) fn ended(&self, unstored: u64) {
        locked(&self.reached).committed.ended = true;
        self.progress.notify_all();
        let mut queue = locked(&self.queue);
        if !matches!(queue.phase, Lifecycle::Finished(_)) {
            queue.phase = Lifecycle::Finished(unstored + queue.ops.len() as u64);
        }
        drop(queue);
        self.done.notify_all();
    }
}
