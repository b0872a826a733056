//! The database and its room: what a transaction left behind, what is deleted, how much more can be stored.
//!
//! A transaction that reported an error is *in doubt*: it may be committed nevertheless. Its batch is held
//! here until the database can be opened again and says so ([`Storage::reopen`]). A batch that was committed before it is
//! *stored*, and durable once the `syncer` has synced it. If that fails, the database is closed just the same: opening
//! it again copies what can be read of the WAL into the database, syncs that, and begins another WAL. If a copy of the
//! WAL fails, its index is not believed either: all of the WAL is copied once more, with an index that is new. SQLite
//! makes one when nobody has the ledger open, so readers within this process open it anew then.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ballast::Ballast;
use super::batch::Batch;
use super::begin::{Begun, begin};
use super::copier::Copier;
use super::copy_plan::{CopyPlan, WalUse};
use super::error::{OpenError, StoreError};
#[cfg(test)]
use super::faults::Faults;
use super::lock::Marker;
use super::log::Log;
use super::op::EndedByCommit;
use super::options::{DATABASE, LedgerOptions};
use super::quarantine;
use super::queue::{Committed, OpQueue};
use super::quota::{Quota, Volume, file_bytes};
use super::retain::Retention;
use super::store::Store;
use super::syncer::{Mark, Syncer};
use metering::usage::ControlKey;

/// How often the ledger is measured, and after how many events at the latest: measuring costs as
/// much as storing two of them.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
const MEASURE_EVENTS: u64 = 128;

/// How often the first undelivered event is looked at.
const OLDEST_EVERY: Duration = Duration::from_secs(1);

/// Steps of retention in one try: 8,192 events, after which calls that ended are looked at again.
const TIDY_STEPS: usize = 16;

/// The database, as its only writer has it.
pub(super) struct Storage {
    queue: Arc<OpQueue>,
    pub(super) syncer: Arc<Syncer>,
    pub(super) dir: PathBuf,
    pub(super) quota: Quota,
    pub(super) source: String,
    /// Always there in the healthy state; closed by an error, and opened again by a later try.
    pub(super) store: Option<Store>,
    pub(super) log: Log,
    /// The batch whose transaction reported an error, until the database says what became of it.
    pub(super) doubt: Option<Batch>,
    ballast: Ballast,
    retention: Retention,
    /// An event counts as delivered when it is stored: nothing is published, and nothing is left that
    /// is to be.
    stored_counts: bool,
    /// The mark when this boot began.
    mark_before: u64,
    /// Signs control events.
    control_key: Option<ControlKey>,
    copies: CopyPlan,
    /// Events stored since the ledger was measured, and when to do it again.
    unmeasured: u64,
    measure_at: Instant,
    oldest_at: Instant,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// The state after an error: the database is closed.
pub(super) struct AfterError {
    /// The bytes that are free on the volume, if it is full.
    pub(super) free: Option<u64>,
    /// The ballast was given up.
    pub(super) released: bool,
}

/// How full the database is, in bytes.
struct SpaceUse {
    used: u64,
    /// The bytes that the database can have, by quota and by volume.
    reach: u64,
    /// On the volume.
    free: u64,
}

impl Storage {
    /// Opens the database and recovers. The marker says whether the last process died while it summed
    /// calls; it is cleared once that is told.
    pub(super) fn open(
        options: &LedgerOptions,
        quota: Quota,
        queue: Arc<OpQueue>,
        marker: &mut Marker,
    ) -> Result<Storage, OpenError> {
        let (boot, was_degraded) = (Uuid::now_v7(), marker.degraded());
        let mut ballast = Ballast::of(&options.dir, quota.ballast);
        let begun = match begin(options, &quota, boot, was_degraded) {
            // A volume that was full when the last process died: this is what the ballast is for.
            Err(error) if error.is_full() && ballast.release() => begin(options, &quota, boot, was_degraded)?,
            begun => begun?,
        };
        let Begun { store, copier, source, log, stored_counts, synced } = begun;
        marker.set(false);
        if let Err(error) = ballast.make() {
            tracing::warn!(dir = %options.dir.display(), bytes = quota.ballast, %error,
                "there is no room for the ballast; a full volume will be harder to get over");
        }
        let now = Instant::now();
        let mut storage = Storage {
            syncer: Arc::new(Syncer::new(Arc::clone(&queue))),
            queue,
            dir: options.dir.clone(),
            quota,
            source,
            store: Some(store),
            mark_before: if stored_counts { log.last - log.boot.sequence } else { log.mark },
            log,
            doubt: None,
            ballast,
            retention: Retention::new(options.keep, now),
            stored_counts,
            control_key: options.control_key.clone(),
            copies: CopyPlan::default(),
            unmeasured: 0,
            measure_at: now,
            oldest_at: now,
            #[cfg(test)]
            faults: Faults::default(),
        };
        storage.publish_state(EndedByCommit::default(), None);
        storage.hand_to_syncer(copier, synced);
        storage.copy_what_was_left()?;
        storage.measure()?;
        let moved_aside = quarantine::moved_aside(&options.dir.join(DATABASE))?;
        storage.queue.found_moved_aside(moved_aside.len() as u64);
        Ok(storage)
    }

    /// Writes a batch, and returns how many events that gave. After an error the batch is in doubt.
    pub(super) fn write(&mut self, mut batch: Batch) -> Result<u64, OpenError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let began = Instant::now();
        match self.transaction(&mut batch) {
            Ok(log) => {
                let events = log.last - self.log.last;
                self.committed(&batch, log, batch.has_calls().then(|| began.elapsed()));
                Ok(events)
            }
            Err(error) => {
                self.doubt = Some(batch);
                Err(self.database(error))
            }
        }
    }

    fn transaction(&mut self, batch: &mut Batch) -> Result<Log, StoreError> {
        #[cfg(test)]
        self.faults.before_write()?;
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        let log = store.write(batch, &self.log, &self.source, self.stored_counts)?;
        #[cfg(test)]
        let log = self.faults.after_write(log)?;
        Ok(log)
    }

    /// A batch is known to be committed.
    fn committed(&mut self, batch: &Batch, log: Log, took: Option<Duration>) {
        self.log = log;
        self.publish_state(batch.ended(), took);
        batch.bills.iter().filter_map(|bill| bill.stored.as_deref()).for_each(|bill| self.queue.billed(bill));
        self.syncer.stored(self.log.reached());
    }

    /// Has the syncer work on the database that is open, of which all up to `synced` is durable.
    fn hand_to_syncer(&self, copier: Copier, synced: Mark) {
        if let Some(store) = &self.store {
            self.syncer.opened(store.wal(), copier, synced, self.log.reached());
        }
    }

    /// Why what is stored could not be made durable or be copied, if that has failed.
    pub(super) fn sync_failure(&self) -> Option<OpenError> {
        self.syncer.failure().map(|error| self.database(error))
    }

    /// Waits until all that is stored is durable.
    pub(super) fn sync(&self) -> Result<(), OpenError> {
        self.syncer.sync();
        self.sync_failure().map_or(Ok(()), Err)
    }

    /// Everything is durable that was stored by so many transactions.
    pub(super) fn is_synced(&self, commits: u64) -> bool {
        self.syncer.synced_commits() >= commits
    }

    fn publish_state(&self, ended: EndedByCommit, took: Option<Duration>) {
        let log = &self.log;
        let state = Committed {
            position: log.last,
            delivered: log.mark,
            stored: log.boot.sequence,
            delivered_since_boot: (log.mark - self.mark_before).saturating_sub(log.boot.refused),
            refused: log.boot.refused,
            ended: false,
        };
        self.queue.committed(state, ended, took);
    }

    /// Something failed: the connection is closed, since after an error of a sync nothing it says
    /// can be relied on.
    pub(super) fn close_after(&mut self, error: &OpenError) -> AfterError {
        // Before the connection is closed: that copies the WAL, which may need the room.
        let full = self.volume_is_full(error);
        let released = full && self.ballast.release();
        self.close();
        AfterError { free: full.then(|| self.free()), released }
    }

    /// Closes the database. The last connection copies the WAL, if the WAL's index can be believed.
    pub(super) fn close(&mut self) {
        self.syncer.closed();
        let Some(store) = self.store.take().filter(|_| self.syncer.is_copy_in_doubt()) else { return };
        if let Err(error) = store.close_without_copy() {
            tracing::error!(dir = %self.dir.display(), %error, "the ledger's WAL was copied though its index is in doubt");
        }
    }

    /// Closes the database at the end, when the last copy is over: so this connection is the last one.
    pub(super) fn close_after_copies(&mut self) {
        self.syncer.wait_for_copy();
        self.close();
    }

    /// Gives up the ballast: the end is what the room was kept for.
    pub(super) fn release_ballast(&mut self) {
        self.ballast.release();
    }

    /// Opens the database, unless it is open, and settles what is in doubt. Returns the batch that was
    /// not committed, if there is one.
    pub(super) fn reopen(&mut self) -> Result<Option<Batch>, OpenError> {
        if self.store.is_some() {
            return Ok(None);
        }
        #[cfg(test)]
        self.faults.before_open()?;
        let copier = self.copier_again()?;
        let mut store = Store::open(&self.dir.join(DATABASE), self.control_key.clone())?;
        let opened = store.bound(&self.quota).and_then(|()| store.settle_wal()).and_then(|()| store.log());
        let found = opened.map_err(|error| self.database(error))?;
        if store.source().map_err(|error| self.database(error))? != self.source {
            let other = "another ledger lies here than at the start".to_owned();
            return Err(self.database(StoreError::Damaged(other)));
        }
        self.store = Some(store);
        self.limit(self.quota.database)?;
        let found = found.filter(|log| log.boot.id == self.log.boot.id);
        if let Some(log) = &found
            && log.commits < self.log.commits
        {
            self.go_on_without_what_is_gone(log);
        }
        let batch = match (self.doubt.take(), found) {
            (Some(batch), Some(log)) if log.commits == self.log.commits + 1 => {
                self.committed(&batch, log, None);
                None
            }
            (doubt, _) => doubt,
        };
        // All that is there was copied from the WAL just now, and synced.
        self.hand_to_syncer(copier, self.log.reached());
        Ok(batch)
    }

    /// Opens the connection for copies again, before anything is read: with an index in doubt it may be another ledger.
    fn copier_again(&self) -> Result<Copier, OpenError> {
        let in_doubt = || Err(self.database(StoreError::CopyInDoubt));
        if self.syncer.is_copying() {
            return in_doubt(); // and how that ends is not known yet
        }
        let copier = Copier::open(&self.dir.join(DATABASE)).map_err(|error| self.database(error))?;
        if self.syncer.is_copy_in_doubt() && !copier.is_index_new().map_err(|error| self.database(error))? {
            self.syncer.call_readers_off();
            return in_doubt();
        }
        Ok(copier)
    }

    /// Transactions were stored, could not be synced, and are not there any more: the system dropped what it could
    /// not write. Nothing of them was published. Their positions are given again, their sequences are not: whoever
    /// reads the topic sees that rows are missing.
    fn go_on_without_what_is_gone(&mut self, found: &Log) {
        let events = self.log.last.saturating_sub(found.last);
        self.queue.count_lost(events);
        tracing::error!(
            dir = %self.dir.display(),
            events,
            "events that were stored could not be written to the disk and are lost"
        );
        self.log.fall_back_to(found);
        self.publish_state(EndedByCommit::default(), None);
    }

    /// Has a long WAL of a process that died copied while no call waits for that.
    fn copy_what_was_left(&self) -> Result<(), OpenError> {
        let Some(store) = &self.store else { return Ok(()) };
        let copied = || {
            if store.wal_bytes()?.0 < self.quota.wal_copy {
                return Ok(());
            }
            self.syncer.copy(Duration::MAX);
            self.begin_wal_if_copied(store)
        };
        copied().map_err(|error| self.database(error))
    }

    /// Now that the disk was quick, or no call is there to wait for it.
    fn begin_wal_if_copied(&self, store: &Store) -> Result<(), StoreError> {
        if store.wal_bytes()?.1 == 0 { store.begin_wal() } else { Ok(()) }
    }

    /// Has the WAL copied into a database of so many bytes, if it is time.
    fn copy_wal(&mut self, database: u64) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let (written, fresh) = store.wal_bytes()?;
        let growth = database.saturating_sub(file_bytes(&self.dir.join(DATABASE)));
        let wal = WalUse { written, fresh, growth, free: self.free(), sync: self.syncer.takes() };
        if let Some(hold) = self.copies.next(&self.quota, wal) {
            self.syncer.copy(hold);
            self.begin_wal_if_copied(store)?;
        }
        Ok(())
    }

    /// Looks at how much room is left after `events` were stored, and deletes a few delivered ones
    /// if it is time or room is short.
    pub(super) fn make_room(&mut self, events: u64) -> Result<(), OpenError> {
        self.unmeasured += events;
        let now = Instant::now();
        if self.unmeasured < MEASURE_EVENTS && now < self.measure_at && now < self.retention.due {
            return Ok(());
        }
        self.measure_at = now + MEASURE_EVERY;
        let (stored, used) = (std::mem::take(&mut self.unmeasured), self.measure()?);
        let short = used > Quota::high_water(self.quota.events);
        if short || Instant::now() >= self.retention.due {
            self.retain(short, stored)?;
        }
        Ok(())
    }

    /// Deletes delivered events and returns whether there may be more to delete.
    pub(super) fn tidy(&mut self) -> Result<bool, OpenError> {
        for _ in 0..TIDY_STEPS {
            let space = self.space()?;
            if !self.retain(space.used > Quota::high_water(space.reach), 0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One step of retention. Returns whether any event went.
    fn retain(&mut self, short: bool, stored: u64) -> Result<bool, OpenError> {
        let Some(store) = &mut self.store else { return Ok(false) };
        let moved = self.retention.step(store, self.log.mark, short, stored);
        moved.map_err(|error| self.database(error))
    }

    /// When delivered events are looked through again.
    pub(super) fn retention_due(&self) -> Instant {
        self.retention.due
    }

    /// There is room for calls again: clearly more than none, so that the state does not flap.
    pub(super) fn has_room(&mut self) -> Result<bool, OpenError> {
        let mut space = self.space()?;
        if !self.ballast.held() && space.free > self.quota.ballast && self.ballast.make().is_ok() {
            space = self.space()?;
        }
        // A ballast that cannot be made, for whatever reason, must not matter where there is plenty.
        let plenty = 4 * (self.quota.ballast + self.quota.wal_kept);
        let volume = space.free >= plenty || (self.ballast.held() && space.free >= self.quota.wal_kept / 2);
        if self.wal_bytes() > self.quota.wal
            && let Some(store) = &self.store
        {
            store.settle_wal().map_err(|error| self.database(error))?;
        }
        Ok(volume && space.used <= Quota::low_water(space.reach))
    }

    /// The bytes that are free on the volume.
    pub(super) fn free(&self) -> u64 {
        Volume::of(&self.dir).free
    }

    fn space(&self) -> Result<SpaceUse, OpenError> {
        let size = self.store.as_ref().map(Store::size).transpose();
        let size = size.map_err(|error| self.database(error))?.unwrap_or_default();
        let free = self.free();
        let reach = size.bytes.saturating_add(free.saturating_sub(self.quota.wal_kept));
        Ok(SpaceUse { used: size.used, reach: reach.min(self.quota.events), free })
    }

    /// Lets the database grow up to so many bytes.
    pub(super) fn limit(&self, bytes: u64) -> Result<(), OpenError> {
        let limited = self.store.as_ref().map_or(Ok(()), |store| store.limit(bytes));
        limited.map_err(|error| self.database(error))
    }

    fn volume_is_full(&self, error: &OpenError) -> bool {
        let free = self.free();
        free < self.quota.ballast
            || (error.is_full() && free < 2 * (self.quota.ballast + self.quota.wal_kept))
    }

    /// Tells others how large the ledger is, and returns the bytes of the database in use. Cuts a
    /// WAL that takes more than its part of the room.
    fn measure(&mut self) -> Result<u64, OpenError> {
        let Some(store) = &self.store else { return Ok(0) };
        let now = Instant::now();
        let measured = || {
            let size = store.size()?;
            let wal = self.wal_bytes();
            self.queue.measured_bytes(size.bytes + wal);
            let outgrown = wal > self.quota.wal && size.bytes + wal > self.quota.database + self.quota.wal;
            if outgrown && !self.syncer.is_copying() {
                store.settle_wal()?;
            }
            if now >= self.oldest_at {
                self.queue.measured_oldest(store.stored_at(self.log.mark)?);
            }
            Ok(size)
        };
        let size = measured().map_err(|error| self.database(error))?;
        if now >= self.oldest_at {
            self.oldest_at = now + OLDEST_EVERY;
        }
        self.copy_wal(size.bytes).map_err(|error| self.database(error))?;
        Ok(size.used)
    }

    fn wal_bytes(&self) -> u64 {
        file_bytes(&self.dir.join(format!("{DATABASE}-wal")))
    }

    fn database(&self, error: StoreError) -> OpenError {
        OpenError::Database { path: self.dir.join(DATABASE), error }
    }
}
