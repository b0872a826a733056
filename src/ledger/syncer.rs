//! Stored events become durable here, behind the writer: the thread `tw-sync` syncs the WAL and copies it into the
//! database (`copier`), and no transaction waits for that.
//!
//! A commit is in the page cache, so it survives the death of the process: it is *stored*. A loss of power it survives
//! once the WAL is synced after it: then it is *synced*, and may be published. A sync is of the file, whoever asks for
//! it and whatever is appended meanwhile, so this thread has a descriptor of its own: what was stored before a sync
//! began is durable when it returns. SQLite holds no lock on the WAL, so opening and closing it here releases none.
//!
//! When the WAL is begun anew, what it held is in the database and synced there, so a mark that was given stays true.
//! A sync that fails is final: the system may have dropped what it covered, and the next one would succeed without it.
//! The mark stays where it is, and the writer closes the database (`storage`).

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::copier::Copier;
use super::error::StoreError;
use super::queue::OpQueue;

/// From the beginning of one sync to that of the next: what a loss of power costs beside the sync itself.
const SYNC_EVERY: Duration = Duration::from_millis(10);

/// How old a sync may be to show how quick the disk is, and how many it takes: a disk that has become slow would hold
/// the writer up.
const SHOWN_WITHIN: Duration = Duration::from_millis(20);
const SHOWN_BY: u32 = 5;

/// How far the ledger has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Transactions.
    pub(super) commits: u64,
    /// Position of the last event.
    pub(super) position: u64,
}

/// The thread's work, and what it shares with the writer.
#[derive(Debug)]
pub(super) struct Syncer {
    queue: Arc<OpQueue>,
    state: Mutex<SyncState>,
    /// Rung when something is stored or is to be copied, and at the end.
    work: Condvar,
    /// Rung when a copy has ended.
    copied: Condvar,
    /// How often the readers within this process were called off.
    called_off: AtomicU64,
}

#[derive(Debug, Default)]
struct SyncState {
    /// `None` while the database is closed.
    wal: Option<Arc<File>>,
    /// Tells one opening of the database from the next: a sync that began before says nothing of it.
    opening: u64,
    stored: Mark,
    synced: Mark,
    /// How long a sync takes: the last one, or a longer one before it, halved with each since.
    takes: Duration,
    /// Syncs since the database was opened, and when the last of them began.
    syncs: u32,
    began: Option<Instant>,
    /// `None` while the database is closed, and while it copies.
    copier: Option<Copier>,
    copy: CopyTurn,
    /// A copy failed: the WAL's index may name pages as copied that no disk has.
    in_doubt: bool,
    failed: Option<StoreError>,
    /// The thread runs.
    runs: bool,
    stop: bool,
    /// The next sync reports an error.
    #[cfg(test)]
    fail_next: bool,
}

/// Whose turn it is with the next copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CopyTurn {
    /// The writer's, to ask for one.
    #[default]
    Writer,
    /// The syncer's, to begin with it.
    Syncer,
    /// It runs.
    Running,
}

/// One sync.
struct SyncJob {
    wal: Arc<File>,
    opening: u64,
    up_to: Mark,
}

impl Syncer {
    pub(super) fn new(queue: Arc<OpQueue>) -> Syncer {
        Syncer {
            queue,
            state: Mutex::default(),
            work: Condvar::new(),
            copied: Condvar::new(),
            called_off: AtomicU64::new(0),
        }
    }

    /// Syncs and copies until it is stopped. Rows that are stored then and not synced are left to whoever closes the database.
    pub(super) fn run(&self) {
        let _runs = Runs::begin(self);
        loop {
            let idle = |state: &mut SyncState| !state.stop && !state.is_copy_due() && state.job().is_none();
            drop(self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner));
            let began = Instant::now();
            // First, since the writer may be waiting for it. It syncs the WAL too.
            self.copy_if_due();
            self.sync();
            let rest = (began + SYNC_EVERY).saturating_duration_since(Instant::now());
            let rests = |state: &mut SyncState| !state.stop && !state.is_copy_due();
            let rested = self.work.wait_timeout_while(self.lock(), rest, rests);
            if rested.unwrap_or_else(PoisonError::into_inner).0.stop {
                return;
            }
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_all();
    }

    /// Makes durable what is stored by now, on the thread that asks.
    pub(super) fn sync(&self) {
        let Some(job) = self.lock().job() else { return };
        let began = Instant::now();
        let synced = job.wal.sync_data();
        #[cfg(test)]
        let synced = if std::mem::take(&mut self.lock().fail_next) {
            Err(io::ErrorKind::Other.into())
        } else {
            synced
        };
        self.ended(&job, synced, began);
    }

    fn ended(&self, job: &SyncJob, synced: io::Result<()>, began: Instant) {
        let took = began.elapsed();
        let mut state = self.lock();
        // The database may have been closed meanwhile, for a reason that makes nobody believe a sync.
        if job.opening != state.opening || state.wal.is_none() {
            return;
        }
        match synced {
            Ok(()) => {
                state.takes = took.max(state.takes / 2);
                (state.syncs, state.began) = (state.syncs.saturating_add(1), Some(began));
                // Two threads may sync at once; the one that began first may end last.
                if job.up_to.commits > state.synced.commits {
                    state.synced = job.up_to;
                    self.queue.synced(job.up_to.position, Some(took));
                }
            }
            Err(error) => self.failed(&mut state, StoreError::Sync(error)),
        }
    }

    fn failed(&self, state: &mut SyncState, error: StoreError) {
        state.wal = None;
        state.failed = Some(error);
        self.queue.alarm();
    }

    fn copy_if_due(&self) {
        let mut state = self.lock();
        if !state.is_copy_due() {
            return;
        }
        let (copier, opening) = (state.copier.take(), state.opening);
        state.copy = CopyTurn::Running;
        drop(state);
        let copied = copier.as_ref().map_or(Ok(()), Copier::copy);
        self.copy_ended(copier.map(|copier| (copier, opening)), copied);
    }

    fn copy_ended(&self, copier: Option<(Copier, u64)>, copied: Result<(), StoreError>) {
        let mut state = self.lock();
        if let Err(error) = copied {
            // A full disk has not said yet that a sync failed.
            state.in_doubt |= !error.is_full();
            self.failed(&mut state, error);
        }
        if let Some((copier, opening)) = copier
            && opening == state.opening
            && state.wal.is_some()
        {
            state.copier = Some(copier);
        }
        state.copy = CopyTurn::Writer;
        self.copied.notify_all();
    }

    // For the writer.

    /// The database is open, and what it held up to `synced` is durable.
    pub(super) fn opened(&self, wal: Arc<File>, copier: Copier, synced: Mark, stored: Mark) {
        let mut state = self.lock();
        state.opening += 1;
        state.syncs = 0;
        (state.wal, state.copier, state.in_doubt, state.failed) = (Some(wal), Some(copier), false, None);
        (state.synced, state.stored) = (synced, stored);
        self.queue.synced(synced.position, None);
        self.work.notify_one();
    }

    /// The database is closed. A copy that runs goes on to its end.
    pub(super) fn closed(&self) {
        let mut state = self.lock();
        (state.wal, state.copier, state.failed) = (None, None, None);
    }

    /// Asks for a copy of the WAL and waits for its end, but no longer than so. One that runs already does not count: it
    /// began before the last transactions.
    pub(super) fn copy(&self, hold: Duration) {
        let began = Instant::now();
        let mut state = self.wait_while(hold, |copy| copy == CopyTurn::Running);
        if state.copy == CopyTurn::Writer {
            state.copy = CopyTurn::Syncer;
        }
        let runs = state.runs;
        drop(state);
        if runs {
            self.work.notify_one();
            drop(self.wait_while(hold.saturating_sub(began.elapsed()), |copy| copy != CopyTurn::Writer));
        } else {
            self.copy_if_due();
        }
    }

    /// Waits for the thread with its copy, if it runs.
    fn wait_while(&self, hold: Duration, waits: impl Fn(CopyTurn) -> bool) -> MutexGuard<'_, SyncState> {
        let waits = |state: &mut SyncState| state.runs && waits(state.copy);
        let waited = self.copied.wait_timeout_while(self.lock(), hold, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until no copy is under way.
    pub(super) fn wait_for_copy(&self) {
        drop(self.wait_while(Duration::MAX, |copy| copy != CopyTurn::Writer));
    }

    /// A copy is under way.
    pub(super) fn is_copying(&self) -> bool {
        self.lock().copy != CopyTurn::Writer
    }

    /// Readers within this process are to let go of the ledger.
    pub(super) fn call_readers_off(&self) {
        self.called_off.fetch_add(1, Ordering::Release);
    }

    /// See [`Syncer::call_readers_off`].
    pub(super) fn readers_called_off(&self) -> u64 {
        self.called_off.load(Ordering::Acquire)
    }

    /// See [`SyncState::in_doubt`].
    pub(super) fn is_copy_in_doubt(&self) -> bool {
        self.lock().in_doubt
    }

    /// So much is committed.
    pub(super) fn stored(&self, mark: Mark) {
        let mut state = self.lock();
        let idle = state.stored.commits == state.synced.commits;
        state.stored = mark;
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }

    /// Why a sync failed since the database was opened.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.lock().failed.take()
    }

    /// How many transactions are durable.
    pub(super) fn synced_commits(&self) -> u64 {
        self.lock().synced.commits
    }

    /// How long a sync takes at the moment. Where no sync has shown that just now, or the database was opened just now,
    /// the disk may be slow: as if it took for ever.
    pub(super) fn takes(&self) -> Duration {
        let state = self.lock();
        let shown = state.began.is_some_and(|began| began.elapsed() < SHOWN_WITHIN);
        if shown && state.syncs >= SHOWN_BY { state.takes } else { Duration::MAX }
    }

    #[cfg(test)]
    pub(super) fn fail_copy(&self) {
        self.copy_ended(None, Err(StoreError::Sync(io::ErrorKind::Other.into())));
    }

    #[cfg(test)]
    pub(super) fn fail_next(&self) {
        self.lock().fail_next = true;
    }

    fn lock(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The syncer's thread, while it runs: nobody waits for one that has ended, however it ended.
struct Runs<'a>(&'a Syncer);

impl Runs<'_> {
    fn begin(syncer: &Syncer) -> Runs<'_> {
        syncer.lock().runs = true;
        Runs(syncer)
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.lock().runs = false;
        self.0.copied.notify_all();
    }
}

impl SyncState {
    fn is_copy_due(&self) -> bool {
        self.copy == CopyTurn::Syncer
    }

    /// The next sync, if there is anything to sync.
    fn job(&self) -> Option<SyncJob> {
        let wal = self.wal.as_ref().filter(|_| self.stored.commits > self.synced.commits)?;
        Some(SyncJob { wal: Arc::clone(wal), opening: self.opening, up_to: self.stored })
    }
}
