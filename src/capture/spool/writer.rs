//! The writer of a spool: what waits to be stored, what is stored when, and what is lost where it cannot be.
//!
//! Where the quota is full, parts are lost at once. Where the database or its disk fails, they wait in memory, the
//! database is opened anew each second, and its log says what became of a transaction that was in doubt. A database that is
//! damaged is given up for a new one. A part that is dropped is lost and ends its side: nothing more of that is stored, so
//! what is kept stays a prefix.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::super::counters::CaptureCounters;
use super::damage::{Damage, give_up};
use super::error::SpoolError;
use super::log::{CallTotals, SpoolLog};
use super::marks::SpoolMarks;
use super::open::open;
use super::options::{CAPTURE_DATABASE, SpoolOptions};
use super::part::SealedPart;
use super::source::SpoolSource;
use super::store::{ControlKind, SpoolBatch, SpoolStore};
use super::word::{Hindrance, SpoolWord};
use crate::ledger::{DirLock, StoreError, moved_aside};

/// Bytes of one transaction, beyond its last part: so much of the WAL and of the page cache it takes.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// With so many bytes waiting they are stored before their time.
const RIPE_BYTES: usize = 4 << 20;

/// How long to wait before the database is opened anew after an error.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the last tries may take when the process ends.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// Between two of the last tries.
const LAST_TRY_EVERY: Duration = Duration::from_millis(100);

/// The WAL's part of the room: a quarter of a small quota, and of a large one what four transactions take.
const WAL_BYTES_MAX: u64 = 64 << 20;

/// A sixteenth of the database is kept for control events, and a spool that was full is used again when another one is
/// free.
const RESERVE_PARTS: u64 = 16;

/// The writer.
#[derive(Debug)]
pub(in crate::capture) struct SpoolWriter {
    path: PathBuf,
    source: SmolStr,
    room: SpoolRoom,
    store: Option<SpoolStore>,
    /// As the last committed transaction left it.
    log: SpoolLog,
    waiting: VecDeque<SealedPart>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
    doubt: Option<Doubt>,
    /// Nothing can be stored; the next try is then.
    retry_at: Option<Instant>,
    control: Option<ControlKind>,
    /// Parts could not be stored for a time since the last control event.
    was_degraded: bool,
    full: SpoolWord,
    failing: SpoolWord,
    damage: Damage,
    counters: Arc<CaptureCounters>,
    marks: Arc<SpoolMarks>,
    _lock: Option<DirLock>,
}

/// A transaction that reported an error: it may have been committed nevertheless.
#[derive(Debug)]
struct Doubt {
    parts: usize,
    control: Option<ControlKind>,
}

/// How the quota is split.
#[derive(Clone, Copy, Debug)]
struct SpoolRoom {
    wal_bytes: u64,
    database_bytes: u64,
    /// Parts may fill so much of it.
    parts_bytes: u64,
    /// A spool that was full is used again below this.
    resume_bytes: u64,
}

impl SpoolRoom {
    fn of(max_bytes: u64) -> SpoolRoom {
        let wal_bytes = WAL_BYTES_MAX.min(max_bytes / 4);
        let database_bytes = max_bytes - wal_bytes;
        let reserve_bytes = database_bytes / RESERVE_PARTS;
        let parts_bytes = database_bytes - reserve_bytes;
        SpoolRoom { wal_bytes, database_bytes, parts_bytes, resume_bytes: parts_bytes - reserve_bytes }
    }
}

impl SpoolWriter {
    /// Opens the spool and begins a boot. `waiting_bytes_max` may wait in memory while nothing can be stored.
    pub(in crate::capture) fn open(
        options: &SpoolOptions,
        counters: Arc<CaptureCounters>,
        waiting_bytes_max: usize,
    ) -> Result<SpoolWriter, SpoolError> {
        let opened = open(options)?;
        let (path, room) = (options.dir.join(CAPTURE_DATABASE), SpoolRoom::of(options.max_bytes));
        let marks = Arc::new(SpoolMarks::new(Arc::clone(&counters)));
        let mut writer = SpoolWriter {
            path,
            source: options.source.clone(),
            room,
            store: None,
            log: opened.log,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_bytes_max,
            doubt: None,
            retry_at: None,
            control: None,
            was_degraded: false,
            full: SpoolWord::of(Hindrance::Full),
            failing: SpoolWord::of(Hindrance::Failing),
            damage: Damage::default(),
            counters,
            marks,
            _lock: opened.lock,
        };
        writer.marks.set_delivered(writer.log.mark);
        writer.use_store(opened.store).map_err(|error| writer.in_database(error))?;
        writer.show();
        Ok(writer)
    }

    /// How far it has come, for whoever ends with it.
    pub(in crate::capture) fn marks(&self) -> Arc<SpoolMarks> {
        Arc::clone(&self.marks)
    }

    /// The spool for the publisher.
    pub(in crate::capture) fn source(&self) -> SpoolSource {
        SpoolSource::new(self.path.clone(), Arc::clone(&self.marks))
    }

    /// Takes a part that is to be stored with the next commit, or loses it.
    pub(in crate::capture) fn append(&mut self, part: SealedPart) {
        let has_room =
            self.retry_at.is_none() || self.waiting_bytes + part.held_bytes() <= self.waiting_bytes_max;
        if self.follows_a_loss(&part) || !has_room {
            drop(part);
        } else {
            self.waiting_bytes += part.held_bytes();
            self.waiting.push_back(part);
        }
    }

    /// Something of its side is lost before it, or gone with a database.
    fn follows_a_loss(&self, part: &SealedPart) -> bool {
        part.unstored.follows_a_loss() || self.damage.took(part.unstored.side_stored_at())
    }

    /// So much waits that it is worth a commit.
    pub(in crate::capture) fn is_ripe(&self) -> bool {
        self.retry_at.is_none() && self.waiting_bytes >= RIPE_BYTES
    }

    /// The next commit ends with a control event.
    pub(in crate::capture) fn control(&mut self, kind: ControlKind) {
        self.control = Some(kind);
    }

    /// Stores what waits, notes what is delivered, and deletes that. Waits for the disk.
    pub(in crate::capture) fn commit(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match self.try_commit(now) {
            Ok(()) => {
                self.damage.is_written();
                self.failing.ends(&self.path, self.lost_parts(), now);
            }
            Err(error) => self.fail(&error, now),
        }
        self.show();
    }

    /// The boot's last commits: all that waits and a control event, which may take some seconds. What cannot be stored
    /// is lost.
    pub(in crate::capture) fn finish(&mut self) {
        self.control = Some(ControlKind::Final);
        let until = Instant::now() + LAST_TRIES;
        loop {
            self.retry_at = self.retry_at.map(|_| Instant::now());
            self.commit(Instant::now());
            if !self.has_work() || Instant::now() >= until {
                break;
            }
            std::thread::sleep(LAST_TRY_EVERY);
        }
        self.lose_waiting();
        self.show();
    }

    fn try_commit(&mut self, now: Instant) -> Result<(), SpoolError> {
        if let Some(why) = self.marks.take_damage() {
            self.damage.was_read(why);
        }
        if let Some(why) = self.damage.found(now).map(str::to_owned) {
            self.give_up(&why, now)?;
        }
        if self.store.is_none() {
            self.reopen()?;
        }
        self.write_all(now).map_err(|error| self.in_database(error))
    }

    fn write_all(&mut self, now: Instant) -> Result<(), StoreError> {
        while self.has_work() {
            self.write_batch(now)?;
        }
        let Some(store) = &self.store else { return Err(StoreError::Closed) };
        if self.full.lasts() && store.used_bytes()? <= self.room.resume_bytes {
            self.full.ends(&self.path, self.counters.lost_parts.load(Ordering::Relaxed), now);
        }
        store.bound_wal()
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.control.is_some() || self.marks.has_news(self.log.mark)
    }

    /// One transaction.
    fn write_batch(&mut self, now: Instant) -> Result<(), StoreError> {
        let (mark, refused) = self.marks.take();
        let mut parts = self.fitting()?;
        if parts == 0 && mark <= self.log.mark && !self.waiting.is_empty() {
            self.overflow(now);
            parts = self.waiting.len();
        }
        // It covers what was handed over before it.
        let control = self.control.filter(|_| parts == self.waiting.len());
        let Some(store) = &mut self.store else { return Err(StoreError::Closed) };
        let mut batch = SpoolBatch {
            parts: self.waiting.iter_mut().take(parts).collect(),
            mark,
            refused: &refused,
            calls: CallTotals::of(&self.counters),
            degraded: self.was_degraded || self.full.lasts(),
            control,
        };
        match store.write(&mut batch, &self.log) {
            Ok(log) => self.wrote(log, parts, control),
            Err(error) => {
                self.doubt = Some(Doubt { parts, control });
                self.marks.put_back(refused);
                return Err(error);
            }
        }
        Ok(())
    }

    /// So many of the parts that wait have room in one transaction.
    fn fitting(&self) -> Result<usize, StoreError> {
        let Some(store) = &self.store else { return Err(StoreError::Closed) };
        if self.waiting.is_empty() {
            return Ok(0);
        }
        let used = store.used_bytes()?;
        let full = self.full.lasts() && used > self.room.resume_bytes;
        let room = if full { 0 } else { self.room.parts_bytes.saturating_sub(used) };
        let (mut bytes, mut row_bytes) = (0, 0);
        let fits = self.waiting.iter().take_while(|part| {
            let fits = bytes < BATCH_BYTES_MAX;
            bytes += part.held_bytes();
            row_bytes += SpoolStore::row_bytes(part.held_bytes());
            fits && row_bytes <= room
        });
        Ok(fits.count())
    }

    /// There is no room for what waits.
    fn overflow(&mut self, now: Instant) {
        let why = "--capture-spool-max-bytes is reached by parts that are not delivered";
        self.full.begins(&self.path, why, self.lost_parts(), now);
        self.was_degraded = true;
        self.lose_waiting();
    }

    /// A transaction was committed.
    fn wrote(&mut self, log: SpoolLog, parts: usize, control: Option<ControlKind>) {
        let positions = self.log.last + 1..;
        for (part, position) in self.waiting.drain(..parts.min(self.waiting.len())).zip(positions) {
            self.waiting_bytes -= part.held_bytes();
            part.unstored.stored(position);
        }
        if control.is_some() {
            self.control = None;
            self.was_degraded = false;
        }
        self.log = log;
        self.marks.set_stored(self.log.last);
    }

    /// Opens the database anew, and finds out what became of a transaction in doubt.
    fn reopen(&mut self) -> Result<(), SpoolError> {
        let store = SpoolStore::open(&self.path, self.source.clone())?;
        let found = store.settle_wal().and_then(|()| store.log());
        let found = found.map_err(|error| self.in_database(error))?;
        match (self.doubt.take(), found) {
            (Some(doubt), Some(found)) if found.commits == self.log.commits + 1 => {
                self.wrote(found, doubt.parts, doubt.control);
            }
            // It was not committed; or the database was given up or taken away, and a new one goes on with the same log.
            _ => {}
        }
        self.use_store(store).map_err(|error| self.in_database(error))
    }

    /// Gives the database up as a start does. The next one goes on with the log, so by the sequences of its parts whoever
    /// reads them sees which are gone; and it begins with a control event that says so.
    fn give_up(&mut self, why: &str, now: Instant) -> Result<(), SpoolError> {
        self.store = None;
        let (delivered, last) = (self.marks.delivered(), self.log.last);
        give_up(&self.path, why, Some(last.saturating_sub(delivered)))?;
        self.damage.replaced(now, delivered, last);
        self.marks.replaced();
        // Whatever was in doubt is stored again, unless it would leave a hole.
        self.doubt = None;
        for part in std::mem::take(&mut self.waiting) {
            self.waiting_bytes -= part.held_bytes();
            self.append(part);
        }
        self.was_degraded = true;
        self.control.get_or_insert(ControlKind::Periodic);
        Ok(())
    }

    fn use_store(&mut self, mut store: SpoolStore) -> Result<(), StoreError> {
        store.limit(self.room.database_bytes, self.room.wal_bytes)?;
        self.store = Some(store);
        self.retry_at = None;
        self.marks.set_stored(self.log.last);
        // It is only shown, so a folder that cannot be read matters to nothing here.
        if let Ok(names) = moved_aside(&self.path) {
            self.counters.moved_aside.store(names.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn fail(&mut self, error: &SpoolError, now: Instant) {
        self.store = None;
        // From now on: the error itself may have taken longer.
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        self.was_degraded = true;
        self.damage.met(error);
        self.failing.begins(&self.path, &error.to_string(), self.lost_parts(), now);
    }

    fn lose_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn lost_parts(&self) -> u64 {
        self.counters.lost_parts.load(Ordering::Relaxed)
    }

    /// Shows in the counters how it stands.
    fn show(&self) {
        let counters = &self.counters;
        counters.degraded.store(self.full.lasts() || self.retry_at.is_some(), Ordering::Release);
        counters.refused.store(self.log.boot.refused, Ordering::Relaxed);
        if let Some(used) = self.store.as_ref().and_then(|store| store.used_bytes().ok()) {
            counters.spool_bytes.store(used, Ordering::Relaxed);
        }
    }

    fn in_database(&self, error: StoreError) -> SpoolError {
        SpoolError::Database { path: self.path.clone(), error }
    }

    /// Commits what waits, and is told that it failed.
    #[cfg(test)]
    pub(super) fn commit_in_doubt(&mut self) {
        let (before, parts) = (self.log.clone(), self.waiting.len());
        let mut batch = SpoolBatch { parts: self.waiting.iter_mut().collect(), ..SpoolBatch::default() };
        assert!(self.store.as_mut().is_some_and(|store| store.write(&mut batch, &before).is_ok()));
        self.doubt = Some(Doubt { parts, control: None });
        let error = self.in_database(StoreError::Closed);
        self.fail(&error, Instant::now());
    }

    /// Is told that the commit of what waits failed, and it did.
    #[cfg(test)]
    pub(super) fn rollback_in_doubt(&mut self) {
        self.doubt = Some(Doubt { parts: self.waiting.len(), control: None });
        let error = self.in_database(StoreError::Closed);
        self.fail(&error, Instant::now());
    }
}
