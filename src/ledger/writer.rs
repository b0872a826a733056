//! One batch, one transaction, one thread.
//!
//! The writer is in one of two states. *Healthy*: every batch becomes a transaction at once.
//! *Failing*: the last transaction reported an error, so nothing is stored and calls are summed, until
//! a try succeeds; that state has a file of its own, `failing`.
//!
//! Healthy or back from failing, no sum waits for longer than [`SUMS_EVERY`]: calls that began without a
//! slot end long after the state that took it from them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ballast::Ballast;
use super::failing::Failing;
use super::lock::Marker;
use super::log::Log;
use super::plan::{ControlDue, OpenCalls, Plan};
use super::queue::{Committed, Shared, Work};
use super::quota::{Quota, Volume, file_bytes};
use super::recover::recover;
use super::retain::Retention;
use super::said::Said;
use super::store::Store;
use super::{DATABASE, OpenError, Options, StoreError};

/// Ended calls that may still have a row in `open`: enough that whole pages come free at once.
const UNSWEPT_MAX: usize = 4_096;

/// Events that recovery may have to look through for settled calls.
const UNSWEPT_EVENTS_MAX: u64 = 16_384;

/// How often the ledger is measured, and after how many events at the latest: measuring costs as
/// much as storing two of them.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
const MEASURE_EVENTS: u64 = 128;

/// How often sums are stored, at most: a payer's calls that end meanwhile are one event, and so few are
/// lost with a crash.
const SUMS_EVERY: Duration = Duration::from_millis(500);

/// How often the first undelivered event is looked at.
const OLDEST_EVERY: Duration = Duration::from_secs(1);

/// The database's only writer.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    pub(super) quota: Quota,
    source: String,
    boot: String,
    /// Always there in the healthy state; closed by an error, and opened again by a later try.
    pub(super) store: Option<Store>,
    pub(super) log: Log,
    pub(super) calls: OpenCalls,
    /// `None` in the healthy state.
    pub(super) failing: Option<Failing>,
    /// The plan whose transaction reported an error, until the database says what became of it.
    pub(super) doubt: Option<Plan>,
    pub(super) ballast: Ballast,
    marker: Marker,
    pub(super) retention: Retention,
    /// When sums that wait in the healthy state are stored.
    pub(super) sums_due: Option<Instant>,
    /// Before that a ledger that fails does not store sums again.
    pub(super) sums_again_at: Instant,
    pub(super) said: Said,
    /// Somebody waits for the end.
    pub(super) ending: bool,
    /// Nobody publishes, and nothing is left that somebody should have.
    stored_counts: bool,
    /// The mark when this boot began.
    mark_before: u64,
    control_interval: Duration,
    control_at: Instant,
    /// Events stored since the ledger was measured, and when to do it again.
    unmeasured: u64,
    measure_at: Instant,
    oldest_at: Instant,
    #[cfg(test)]
    pub(super) faults: super::failing::Faults,
}

impl Writer {
    /// Opens the database and recovers.
    pub(super) fn open(
        options: &Options,
        quota: Quota,
        shared: Arc<Shared>,
        mut marker: Marker,
    ) -> Result<Writer, OpenError> {
        let boot = Uuid::now_v7();
        let mut ballast = Ballast::of(&options.dir, quota.ballast);
        let begun = match begin(options, &quota, boot, marker.degraded()) {
            // A volume that was full when the last process died: this is what the ballast is for.
            Err(error) if error.is_full() && ballast.release() => {
                begin(options, &quota, boot, marker.degraded())?
            }
            begun => begun?,
        };
        let Begun { store, source, log, stored_counts } = begun;
        marker.set(false);
        if let Err(error) = ballast.make() {
            tracing::warn!(dir = %options.dir.display(), bytes = quota.ballast, %error,
                "there is no room for the ballast; a full volume will be harder to get over");
        }
        let now = Instant::now();
        let mut writer = Writer {
            calls: OpenCalls::new(quota.batch_ops()),
            shared,
            dir: options.dir.clone(),
            quota,
            source,
            boot: boot.to_string(),
            store: Some(store),
            mark_before: if stored_counts { log.last - log.boot.sequence } else { log.mark },
            log,
            failing: None,
            doubt: None,
            ballast,
            marker,
            retention: Retention::new(options.keep, now),
            sums_due: None,
            sums_again_at: now,
            said: Said::default(),
            ending: false,
            stored_counts,
            control_interval: options.control_interval,
            control_at: now + options.control_interval,
            unmeasured: 0,
            measure_at: now,
            oldest_at: now,
            #[cfg(test)]
            faults: super::failing::Faults::default(),
        };
        writer.publish_state(0, None);
        writer.measure()?;
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
        loop {
            let work = self.shared.gather(self.wake_at());
            let (finish, stop) = (work.finish, work.stop);
            self.step(work);
            if finish || stop {
                self.end_well();
            }
            if finish {
                self.shared.finished(self.unstored());
            }
            if stop {
                break;
            }
        }
        self.say_that_it_is_over(true);
        let unstored = self.unstored();
        if unstored > 0 {
            tracing::error!(dir = %self.dir.display(), calls = unstored, "the ledger ends without storing these");
        }
        // The last connection to close copies the WAL into the database.
        self.store = None;
        self.shared.ended(unstored);
    }

    /// One round: what came in is stored, or summed while nothing can be stored.
    pub(super) fn step(&mut self, work: Work) {
        self.ending |= work.finish || work.stop;
        if self.failing.is_some() {
            self.absorb(work.ops);
            self.try_again_if_due();
        } else {
            let plan = self.plan(work);
            if let Err(error) = self.write(plan).and_then(|events| self.make_room(events)) {
                self.fail(&error);
            }
        }
        self.say_that_it_is_over(false);
        self.mark_state();
    }

    /// Leaves word for the next start, in case there is no time for it later.
    pub(super) fn mark_state(&mut self) {
        self.marker.set(self.failing.is_some() || self.shared.sums_wait());
    }

    fn wake_at(&self) -> Instant {
        match &self.failing {
            Some(failing) => failing.wake_at(),
            None if self.calls.has_unwritten() => Instant::now(),
            None => {
                let others = [self.sums_due, self.said.due()].into_iter().flatten();
                others.fold(self.control_at.min(self.retention.due), Instant::min)
            }
        }
    }

    /// What is to be written now.
    fn plan(&mut self, work: Work) -> Plan {
        let mut plan = self.calls.plan(work.ops, &self.boot);
        (plan.mark, plan.refused) = (work.mark, work.refused);
        plan.degraded = self.shared.sums_wait();
        let now = Instant::now();
        if work.finish || now >= self.control_at {
            self.end_period(&mut plan);
        } else if plan.degraded && now >= *self.sums_due.get_or_insert(now + SUMS_EVERY) {
            self.take_sums(&mut plan);
        }
        let old = self.log.last - self.log.swept > UNSWEPT_EVENTS_MAX;
        let unswept = self.calls.unswept.len();
        if unswept >= UNSWEPT_MAX || (unswept > 0 && (old || work.finish)) {
            plan.sweep = self.calls.sweep();
        }
        plan
    }

    /// What brings a ledger that was failing back: the sums, and in the same transaction the rows
    /// of all calls that are in them, so that a crash can give no call twice.
    pub(super) fn recovery_plan(&mut self) -> Plan {
        let mut plan = self.calls.plan(std::collections::VecDeque::new(), &self.boot);
        (plan.mark, plan.refused) = self.shared.take_marks();
        plan.degraded = true;
        self.end_period(&mut plan);
        plan.sweep = self.calls.sweep();
        plan
    }

    /// Sums and control event.
    fn end_period(&mut self, plan: &mut Plan) {
        self.control_at = Instant::now() + self.control_interval;
        self.take_sums(plan);
        let open = self.calls.count();
        // After the last control event of a boot there is no other.
        if !self.log.boot.finished {
            plan.control = Some(ControlDue { open, last: self.ending && open == 0 });
        }
    }

    /// Sums. In the healthy state none of their calls has a row: those that have one are summed, and
    /// their sums stored, while the ledger fails.
    fn take_sums(&mut self, plan: &mut Plan) {
        plan.sums = self.shared.take_sums();
        self.sums_due = None;
        if !plan.sums.is_empty() {
            self.sums_again_at = Instant::now() + SUMS_EVERY;
        }
    }

    /// Writes a plan, and returns how many events that gave. After an error the plan is in doubt.
    pub(super) fn write(&mut self, plan: Plan) -> Result<u64, OpenError> {
        if plan.is_empty() {
            return Ok(0);
        }
        let began = Instant::now();
        match self.transaction(&plan) {
            Ok(log) => {
                let events = log.last - self.log.last;
                self.committed(&plan, log, plan.has_calls().then(|| began.elapsed()));
                Ok(events)
            }
            Err(error) => {
                self.doubt = Some(plan);
                Err(self.database(error))
            }
        }
    }

    fn transaction(&mut self, plan: &Plan) -> Result<Log, StoreError> {
        #[cfg(test)]
        self.faults.before_write()?;
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        let log = store.write(plan, &self.log, &self.source, self.stored_counts)?;
        #[cfg(test)]
        let log = self.faults.after_write(log)?;
        Ok(log)
    }

    /// A plan is known to be committed.
    pub(super) fn committed(&mut self, plan: &Plan, log: Log, took: Option<Duration>) {
        self.log = log;
        self.publish_state(plan.closed.len(), took);
    }

    fn publish_state(&self, settled: usize, took: Option<Duration>) {
        let log = &self.log;
        let state = Committed {
            position: log.last,
            delivered: log.mark,
            stored: log.boot.sequence,
            delivered_since_boot: (log.mark - self.mark_before).saturating_sub(log.boot.refused),
            refused: log.boot.refused,
            ended: false,
        };
        self.shared.committed(state, settled, took);
    }

    /// Looks at how much room is left after `events` were stored, and deletes a few delivered ones
    /// if it is time or room is short.
    fn make_room(&mut self, events: u64) -> Result<(), OpenError> {
        self.unmeasured += events;
        let now = Instant::now();
        if self.unmeasured < MEASURE_EVENTS && now < self.measure_at && now < self.retention.due {
            return Ok(());
        }
        self.measure_at = now + MEASURE_EVERY;
        let (stored, used) = (std::mem::take(&mut self.unmeasured), self.measure()?);
        let short = used > Quota::high_water(self.quota.events);
        let mark = self.log.mark;
        let Some(store) = &mut self.store else { return Ok(()) };
        if short || Instant::now() >= self.retention.due {
            let deleted = self.retention.step(store, mark, short, stored);
            deleted.map_err(|error| self.database(error))?;
        }
        Ok(())
    }

    /// Tells others how large the ledger is, and returns the bytes of the database in use. Cuts a
    /// WAL that takes more than its part of the room.
    fn measure(&mut self) -> Result<u64, OpenError> {
        let Some(store) = &self.store else { return Ok(0) };
        let measured = || {
            let size = store.size()?;
            let wal = self.wal_bytes();
            self.shared.measured_bytes(size.bytes + wal);
            if wal > self.quota.wal && size.bytes + wal > self.quota.database + self.quota.wal {
                store.settle_wal()?;
            }
            let now = Instant::now();
            let oldest = if now < self.oldest_at { None } else { Some(store.stored_at(self.log.mark)?) };
            Ok((size.used, oldest))
        };
        let (used, oldest) = measured().map_err(|error| self.database(error))?;
        if let Some(oldest) = oldest {
            self.oldest_at = Instant::now() + OLDEST_EVERY;
            self.shared.measured_oldest(oldest);
        }
        Ok(used)
    }

    pub(super) fn wal_bytes(&self) -> u64 {
        file_bytes(&self.dir.join(format!("{DATABASE}-wal")))
    }

    pub(super) fn database(&self, error: StoreError) -> OpenError {
        OpenError::Database { path: self.dir.join(DATABASE), error }
    }
}

/// A database that is open and recovered.
struct Begun {
    store: Store,
    source: String,
    log: Log,
    stored_counts: bool,
}

fn begin(options: &Options, quota: &Quota, boot: Uuid, was_degraded: bool) -> Result<Begun, OpenError> {
    let path = options.dir.join(DATABASE);
    let database = |error| OpenError::Database { path: path.clone(), error };
    let mut store = Store::open(&path)?;
    let source = store.source().map_err(database)?;
    // Recovery may go beyond the quota: the calls of a dead process are at most `slots`.
    let recovered = recover(&mut store, &source, boot, !options.publishes, was_degraded);
    let (log, found) = recovered.map_err(database)?;
    store.bound(quota).and_then(|()| store.limit(quota.events)).map_err(database)?;
    let stored_counts = !options.publishes && found.undelivered == 0;
    if found.crashed > 0 {
        tracing::warn!(calls = found.crashed, "calls of a process that died are settled as crashed");
    }
    if was_degraded {
        tracing::error!(dir = %options.dir.display(), "the last process died while calls were summed in its memory: those are lost");
    }
    if !options.publishes && !stored_counts {
        tracing::warn!(
            events = found.undelivered,
            "events wait for a broker, but none is configured: all are kept until `drain` or a start with one"
        );
    }
    Ok(Begun { store, source, log, stored_counts })
}

/// The room that a ledger in a directory has.
pub(super) fn quota(options: &Options) -> Quota {
    Quota::new(options.max_bytes, Volume::of(&options.dir).total)
}
