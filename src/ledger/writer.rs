//! One batch, one transaction, one thread.
//!
//! The writer never gives up while calls come in: a transaction that fails is tried again, on a
//! connection opened anew, with the same events under the same ids. Meanwhile calls keep their
//! slots, and those that find none are summed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::log::Log;
use super::plan::{ControlDue, OpenCalls, Plan};
use super::queue::{Committed, Shared, Work};
use super::recover::recover;
use super::store::Store;
use super::{OpenError, Options, StoreError};

/// Settled calls that may still have a row in `open`: enough that whole pages come free at once.
const UNSWEPT_MAX: usize = 4_096;

/// Events that recovery may have to look through for settled calls.
const UNSWEPT_EVENTS_MAX: u64 = 16_384;

/// Events looked at in one step of retention: a transaction of a few milliseconds.
const RETIRE_ROWS: u32 = 512;

/// How often delivered events are looked through while there is nothing old.
const RETIRE_EVERY: Duration = Duration::from_secs(10);

/// Pause before a failed transaction is tried again; doubles up to the second value.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Tries of a failing transaction once somebody waits for the end.
const LAST_TRIES: u32 = 10;

/// The database's only writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    source: String,
    boot: String,
    /// `None` while it cannot be opened again after an error.
    store: Option<Store>,
    log: Log,
    calls: OpenCalls,
    /// Nobody publishes, and nothing is left that somebody should have.
    stored_counts: bool,
    /// The mark when this boot began.
    mark_before: u64,
    control_interval: Duration,
    control_at: Instant,
    keep: Duration,
    retired: u64,
    retire_at: Instant,
}

impl Writer {
    /// Opens the database and recovers.
    pub(super) fn open(path: &Path, options: &Options, shared: Arc<Shared>) -> Result<Writer, OpenError> {
        let database = |error| OpenError::Database { path: path.to_owned(), error };
        let mut store = Store::open(path)?;
        let source = store.source().map_err(database)?;
        let boot = Uuid::now_v7();
        let (log, found) = recover(&mut store, &source, boot, !options.publishes).map_err(database)?;
        let stored_counts = !options.publishes && found.undelivered == 0;
        if found.crashed > 0 {
            tracing::warn!(calls = found.crashed, "calls of a process that died are settled as crashed");
        }
        if !options.publishes && !stored_counts {
            tracing::warn!(
                events = found.undelivered,
                "events wait for a broker, but none is configured: all are kept until `drain` or a start with one"
            );
        }
        let now = Instant::now();
        let writer = Writer {
            shared,
            path: path.to_owned(),
            source,
            boot: boot.to_string(),
            store: Some(store),
            mark_before: if stored_counts { log.last - log.boot.sequence } else { log.mark },
            log,
            calls: OpenCalls::default(),
            stored_counts,
            control_interval: options.control_interval,
            control_at: now + options.control_interval,
            keep: options.keep,
            retired: 0,
            retire_at: now,
        };
        writer.publish_state(0, None);
        Ok(writer)
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn boot(&self) -> Uuid {
        self.log.boot.id
    }

    /// Writes until the ledger is stopped.
    pub(super) fn run(mut self) {
        let unstored = loop {
            let work = self.shared.gather(self.control_at.min(self.retire_at));
            let (finish, stop) = (work.finish, work.stop);
            let plan = self.plan(work);
            if !self.commit(&plan) {
                break plan.calls();
            }
            if finish {
                self.shared.finished(0);
            }
            if stop {
                break 0;
            }
            self.retire();
        };
        if unstored > 0 {
            tracing::error!(calls = unstored, "the ledger ends without storing what it was last given");
        }
        // The last connection to close copies the WAL into the database.
        self.store = None;
        self.shared.ended(unstored);
    }

    /// What is to be written now.
    pub(super) fn plan(&mut self, work: Work) -> Plan {
        let mut plan = self.calls.plan(work.ops, &self.boot);
        (plan.mark, plan.refused) = (work.mark, work.refused);
        plan.degraded = self.shared.sums_wait();
        if work.finish || Instant::now() >= self.control_at {
            self.control_at = Instant::now() + self.control_interval;
            plan.sums = self.shared.take_sums();
            let open = self.calls.count();
            // After the last control event of a boot there is no other.
            if !self.log.boot.finished {
                plan.control = Some(ControlDue { open, last: work.finish && open == 0 });
            }
        }
        let old = self.log.last - self.log.swept > UNSWEPT_EVENTS_MAX;
        let unswept = &mut self.calls.unswept;
        if unswept.len() >= UNSWEPT_MAX || (!unswept.is_empty() && (old || work.finish)) {
            plan.sweep = std::mem::take(unswept);
            plan.sweep.sort_unstable();
        }
        plan
    }

    /// Stores a plan, however often that takes. Returns whether it is stored: it may not be only
    /// once somebody waits for the end.
    pub(super) fn commit(&mut self, plan: &Plan) -> bool {
        if plan.is_empty() {
            return true;
        }
        let (mut pause, mut tries) = (RETRY_MIN, LAST_TRIES);
        loop {
            let began = Instant::now();
            match self.attempt(plan) {
                Ok(log) => {
                    self.log = log;
                    let took = plan.has_calls().then(|| began.elapsed());
                    self.publish_state(plan.closed.len(), took);
                    return true;
                }
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot store; it tries again");
                    self.shared.failing();
                }
            }
            if self.shared.pause(pause) {
                tries -= 1;
                if tries == 0 {
                    return false;
                }
                std::thread::sleep(RETRY_MIN);
            }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// One try. A connection on which anything failed is closed: after an error of a sync nothing
    /// it says can be relied on.
    fn attempt(&mut self, plan: &Plan) -> Result<Log, OpenError> {
        let path = self.path.clone();
        let database = |error| OpenError::Database { path: path.clone(), error };
        let mut store = match self.store.take() {
            Some(store) => store,
            None => {
                let store = Store::open(&self.path)?;
                if let Some(log) = self.committed_after_all(&store).map_err(database)? {
                    self.store = Some(store);
                    return Ok(log);
                }
                store
            }
        };
        let log = store.write(plan, &self.log, &self.source, self.stored_counts).map_err(database)?;
        self.store = Some(store);
        Ok(log)
    }

    /// The log, if the transaction that reported an error was committed nevertheless.
    fn committed_after_all(&self, store: &Store) -> Result<Option<Log>, StoreError> {
        store.settle_wal()?;
        Ok(store.log()?.filter(|log| log.commits == self.log.commits + 1))
    }

    fn publish_state(&self, slots: usize, took: Option<Duration>) {
        let log = &self.log;
        let state = Committed {
            position: log.last,
            delivered: log.mark,
            stored: log.boot.sequence,
            delivered_since_boot: (log.mark - self.mark_before).saturating_sub(log.boot.refused),
            refused: log.boot.refused,
            failing: false,
            ended: false,
        };
        self.shared.committed(state, slots, took);
    }

    /// Deletes a few old delivered events, if it is time.
    fn retire(&mut self) {
        let Some(store) = self.store.as_mut().filter(|_| Instant::now() >= self.retire_at) else {
            return;
        };
        let keep_ms = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::now().as_millisecond().saturating_sub(keep_ms);
        match store.retire(self.retired, self.log.mark, before, RETIRE_ROWS) {
            Ok(hand) if hand > self.retired => self.retired = hand,
            Ok(_) => self.retire_at = Instant::now() + RETIRE_EVERY,
            Err(error) => {
                tracing::warn!(%error, "old events could not be deleted");
                self.retire_at = Instant::now() + RETIRE_EVERY;
            }
        }
    }
}
