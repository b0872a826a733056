//! The state in which nothing can be stored, and the way out of it.
//!
//! ```text
//!             a transaction fails                      opened, tidied, room again:
//!   healthy ----------------------> failing            one transaction stores the sums
//!      ^                              |  ^ |                          |
//!      |                              |  '-' a try every 0.1 s .. 1 s |
//!      '------------------------------+-------------------------------'
//! ```
//!
//! While failing, no slot is given out; calls that end are added to the sums and give theirs back;
//! calls that run keep their draft for later; checkpoints are dropped. So memory stays flat.
//!
//! The transaction that reported an error is *in doubt*: it may be committed all the same. It is
//! held until the database can be opened again and says so. Until then nothing of it was seen by
//! the publisher, and if it was not committed nothing of it ever is: its calls go to the sums.
//!
//! A try opens the database, settles the doubt, stores the publisher's marks, deletes delivered
//! events, and looks whether there is room. If so, one transaction stores the sums, deletes the rows
//! of all calls in them and writes a control event that says `degraded`; then the ledger is healthy.
//! A crash before it loses the sums, which the marker in the lock file tells the next start. Sums are not
//! stored while there is no room for calls, although a transaction of marks may succeed: the reserve holds
//! each sum once, and must last until the end.
//!
//! A disk around full makes the state come and go. Each return stores what was summed, so returns are as
//! far apart as sums are stored (`SUMS_EVERY`): a payer gets a summary event each half second at most.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::DATABASE;
use super::plan::Plan;
use super::queue::Op;
use super::quota::{Quota, Volume};
use super::store::Store;
use super::writer::Writer;
use super::{OpenError, StoreError};

/// Pause before the next try; doubles up to the second value while tries fail. A try takes some
/// milliseconds, and a disk that is well again is to be found so within a second.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Pause while the database works but is full: marks that come in are stored this soon.
const TIDY_EVERY: Duration = Duration::from_millis(200);

/// Steps of retention in one try: 8,192 events, after which calls that ended are looked at again.
const TIDY_STEPS: usize = 16;

/// For how long tries go on once somebody waits for the end.
const LAST_TRIES: Duration = Duration::from_secs(2);

/// The failing state. A plan in doubt stands beside it, in [`Writer`].
#[derive(Debug)]
pub(super) struct Failing {
    try_at: Instant,
    pause: Duration,
    /// What was free on a volume that was full at the last try. Room that comes is looked for more
    /// often than a try is made, which costs far more than a look.
    full: Option<u64>,
    look_at: Instant,
}

impl Failing {
    fn new() -> Failing {
        let now = Instant::now();
        Failing { try_at: now, pause: RETRY_MIN, full: None, look_at: now }
    }

    /// When there may be something to do.
    pub(super) fn wake_at(&self) -> Instant {
        if self.full.is_some() { self.try_at.min(self.look_at) } else { self.try_at }
    }
}

impl Writer {
    /// Something failed: the connection is closed, since after an error of a sync nothing it says
    /// can be relied on, and the next try is due after a pause.
    pub(super) fn fail(&mut self, error: &OpenError) {
        // Before the connection is closed: that copies the WAL, which may need the room.
        let full = self.volume_is_full(error);
        let released = full && self.ballast.release();
        self.store = None;
        self.shared.set_failing(true);
        if self.failing.is_none() {
            self.said.begins();
        }
        let free = full.then(|| Volume::of(&self.dir).free);
        let now = Instant::now();
        let failing = self.failing.get_or_insert_with(Failing::new);
        failing.try_at = self.sums_again_at.max(now + failing.pause);
        failing.pause = RETRY_MAX.min(failing.pause * 2);
        (failing.full, failing.look_at) = (free, self.sums_again_at.max(now + TIDY_EVERY));
        let said = self.say(&error.to_string());
        if said && released {
            tracing::warn!(dir = %self.dir.display(), "the volume is full; the ballast is given up for marks, deletions and sums");
        }
    }

    /// Calls that began or ended while nothing can be stored.
    pub(super) fn absorb(&mut self, ops: VecDeque<Op>) {
        let ended = self.calls.absorb(ops);
        if !ended.is_empty() {
            self.shared.sum_instead(&ended);
        }
    }

    pub(super) fn try_again_if_due(&mut self) {
        let now = Instant::now();
        if self.failing.as_ref().is_some_and(|failing| now >= failing.try_at) || self.room_came(now) {
            self.try_again();
        }
    }

    /// A volume that was full has room again. Whether it is enough, a try tells.
    fn room_came(&mut self, now: Instant) -> bool {
        let Some(failing) = &mut self.failing else { return false };
        let Some(then) = failing.full.filter(|_| now >= failing.look_at) else { return false };
        failing.look_at = now + TIDY_EVERY;
        Volume::of(&self.dir).free > then + self.quota.wal / 2
    }

    /// One try to get out of the failing state.
    pub(super) fn try_again(&mut self) {
        match self.attempt() {
            Ok(Tried::Healthy) => self.healthy(),
            Ok(Tried::Full { more }) => {
                let pause = if more { Duration::ZERO } else { TIDY_EVERY };
                if let Some(failing) = &mut self.failing {
                    (failing.pause, failing.full) = (RETRY_MIN, None);
                    failing.try_at = Instant::now() + pause;
                }
                self.say("no room: undelivered events fill the quota, or the volume is full");
            }
            Err(error) => self.fail(&error),
        }
    }

    fn attempt(&mut self) -> Result<Tried, OpenError> {
        if self.ending {
            // The room was kept for this.
            self.ballast.release();
        }
        self.reopen()?;
        let more = self.tidy()?;
        if !self.ending && !self.has_room()? {
            return Ok(Tried::Full { more });
        }
        let plan = self.recovery_plan();
        self.write(plan)?;
        self.limit(self.quota.events)?;
        Ok(Tried::Healthy)
    }

    /// Opens the database, unless it is open, and settles what is in doubt.
    fn reopen(&mut self) -> Result<(), OpenError> {
        if self.store.is_some() {
            return Ok(());
        }
        #[cfg(test)]
        self.faults.before_open()?;
        let mut store = Store::open(&self.dir.join(DATABASE))?;
        let opened = store.bound(&self.quota).and_then(|()| store.settle_wal()).and_then(|()| store.log());
        let found = opened.map_err(|error| self.database(error))?;
        if store.source().map_err(|error| self.database(error))? != self.source() {
            let other = "another ledger lies here than at the start".to_owned();
            return Err(self.database(StoreError::Damaged(other)));
        }
        self.store = Some(store);
        self.limit(self.quota.database)?;
        let Some(plan) = self.doubt.take() else { return Ok(()) };
        match found.filter(|log| log.boot.id == self.log.boot.id && log.commits == self.log.commits + 1) {
            Some(log) => self.committed(&plan, log, None),
            None => self.lost(plan),
        }
        Ok(())
    }

    /// A plan was not committed: what it held goes back to where it came from, and its ended calls
    /// to the sums.
    fn lost(&mut self, mut plan: Plan) {
        let ended = self.calls.lost(&mut plan);
        self.shared.sum_instead(&ended);
        self.shared.put_back_sums(plan.sums);
        self.shared.put_back_marks(plan.mark, plan.refused);
    }

    /// Stores marks and refused events and deletes delivered ones: what makes room. Returns whether
    /// there may be more to delete.
    fn tidy(&mut self) -> Result<bool, OpenError> {
        let (mark, refused) = self.shared.take_marks();
        self.write(Plan { mark, refused, ..Plan::default() })?;
        for _ in 0..TIDY_STEPS {
            let room = self.room()?;
            let short = room.used > Quota::high_water(room.reach);
            let mark = self.log.mark;
            let Some(store) = &mut self.store else { return Ok(false) };
            let moved = self.retention.step(store, mark, short, 0);
            if !moved.map_err(|error| self.database(error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// There is room for calls again: clearly more than none, so that the state does not flap.
    fn has_room(&mut self) -> Result<bool, OpenError> {
        let mut room = self.room()?;
        if !self.ballast.held() && room.free > self.quota.ballast && self.ballast.make().is_ok() {
            room = self.room()?;
        }
        // A ballast that cannot be made, for whatever reason, must not matter where there is plenty.
        let plenty = 4 * (self.quota.ballast + self.quota.wal);
        let volume = room.free >= plenty || (self.ballast.held() && room.free >= self.quota.wal / 2);
        if self.wal_bytes() > self.quota.wal
            && let Some(store) = &self.store
        {
            store.settle_wal().map_err(|error| self.database(error))?;
        }
        Ok(volume && room.used <= Quota::low_water(room.reach))
    }

    fn room(&self) -> Result<Room, OpenError> {
        let size = self.store.as_ref().map(Store::size).transpose();
        let size = size.map_err(|error| self.database(error))?.unwrap_or_default();
        let free = Volume::of(&self.dir).free;
        let reach = size.bytes.saturating_add(free.saturating_sub(self.quota.wal));
        Ok(Room { used: size.used, reach: reach.min(self.quota.events), free })
    }

    fn limit(&self, bytes: u64) -> Result<(), OpenError> {
        let limited = self.store.as_ref().map_or(Ok(()), |store| store.limit(bytes));
        limited.map_err(|error| self.database(error))
    }

    fn volume_is_full(&self, error: &OpenError) -> bool {
        let free = Volume::of(&self.dir).free;
        free < self.quota.ballast || (error.is_full() && free < 2 * (self.quota.ballast + self.quota.wal))
    }

    fn healthy(&mut self) {
        self.shared.set_failing(false);
        if self.failing.take().is_some() {
            self.said.gets_well(Instant::now());
        }
    }

    /// Logs that calls are stored one by one again, once that has lasted for a moment or is the `last`
    /// word.
    pub(super) fn say_that_it_is_over(&mut self, last: bool) {
        let Some(over) = self.said.over(Instant::now(), last) else { return };
        tracing::warn!(
            dir = %self.dir.display(),
            calls_summed = self.shared.stats().summed,
            after = ?over.after,
            times = over.times,
            "the ledger stores calls one by one again"
        );
    }

    /// The last tries, once somebody waits for the end: sums and the last control event may use the
    /// ballast and the quota's reserve.
    pub(super) fn end_well(&mut self) {
        let until = Instant::now() + LAST_TRIES;
        loop {
            if self.failing.is_some() {
                self.try_again();
            }
            if self.failing.is_none() && self.calls.has_unwritten() {
                self.step(super::queue::Work::default());
            } else if self.failing.is_none() || Instant::now() >= until {
                self.mark_state();
                return;
            } else {
                std::thread::sleep(RETRY_MIN);
            }
        }
    }

    /// Calls that only memory knows of.
    pub(super) fn unstored(&self) -> u64 {
        let doubt = self.doubt.as_ref().map_or(0, Plan::calls);
        doubt + self.shared.calls_in_sums() + self.calls.unwritten()
    }

    /// Logs the state when it begins and every now and then. Returns whether that was now.
    fn say(&mut self, why: &str) -> bool {
        let said = self.said.fails(Instant::now());
        if said {
            tracing::error!(
                dir = %self.dir.display(),
                error = why,
                calls_summed = self.shared.stats().summed,
                "the ledger cannot store calls one by one; they are summed in memory until it can"
            );
        }
        said
    }
}

/// What a try came to.
enum Tried {
    Healthy,
    /// The database works, but has no room for calls.
    Full {
        /// More may be deleted at once.
        more: bool,
    },
}

/// How full the database is, in bytes.
struct Room {
    used: u64,
    /// What the database can have, by quota and by volume.
    reach: u64,
    /// On the volume.
    free: u64,
}

/// Errors that a test asks for.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Transactions report an error and are not committed.
    pub(super) lose: bool,
    /// The next one does.
    pub(super) lose_once: bool,
    /// The next transaction is committed and reports an error.
    pub(super) commit_and_fail: bool,
    /// The database cannot be opened.
    pub(super) no_open: bool,
}

#[cfg(test)]
impl Faults {
    pub(super) fn before_write(&mut self) -> Result<(), super::StoreError> {
        if std::mem::take(&mut self.lose_once) || self.lose { Err(super::StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn after_write<T>(&mut self, value: T) -> Result<T, super::StoreError> {
        if std::mem::take(&mut self.commit_and_fail) { Err(super::StoreError::Closed) } else { Ok(value) }
    }

    fn before_open(&self) -> Result<(), OpenError> {
        let error = || OpenError::Io { path: DATABASE.into(), error: std::io::Error::other("a test") };
        if self.no_open { Err(error()) } else { Ok(()) }
    }
}
