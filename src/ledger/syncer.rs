//! Stored events become durable here, behind the writer: the thread `tw-sync` syncs the WAL, and no transaction
//! waits for it.
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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// Rung when something is stored, and at the end.
    work: Condvar,
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
    failed: Option<io::Error>,
    stop: bool,
    /// The next sync reports an error.
    #[cfg(test)]
    fail_next: bool,
}

/// One sync.
struct SyncJob {
    wal: Arc<File>,
    opening: u64,
    up_to: Mark,
}

impl Syncer {
    pub(super) fn new(queue: Arc<OpQueue>) -> Syncer {
        Syncer { queue, state: Mutex::default(), work: Condvar::new() }
    }

    /// Syncs until it is stopped. What is stored then and not synced is left to whoever closes the database.
    pub(super) fn run(&self) {
        loop {
            let waited = self.work.wait_while(self.lock(), |state| !state.stop && state.job().is_none());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            let began = Instant::now();
            self.sync();
            let rest = (began + SYNC_EVERY).saturating_duration_since(Instant::now());
            let rested = self.work.wait_timeout_while(self.lock(), rest, |state| !state.stop);
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
            Err(error) => {
                state.wal = None;
                state.failed = Some(error);
                self.queue.alarm();
            }
        }
    }

    // For the writer.

    /// The database is open, and what it held up to `synced` is durable.
    pub(super) fn opened(&self, wal: Arc<File>, synced: Mark, stored: Mark) {
        let mut state = self.lock();
        state.opening += 1;
        state.syncs = 0;
        (state.wal, state.failed) = (Some(wal), None);
        (state.synced, state.stored) = (synced, stored);
        self.queue.synced(synced.position, None);
        self.work.notify_one();
    }

    /// The database is closed.
    pub(super) fn closed(&self) {
        let mut state = self.lock();
        (state.wal, state.failed) = (None, None);
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
    pub(super) fn failure(&self) -> Option<io::Error> {
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
    pub(super) fn fail_next(&self) {
        self.lock().fail_next = true;
    }

    fn lock(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncState {
    /// The next sync, if there is anything to sync.
    fn job(&self) -> Option<SyncJob> {
        let wal = self.wal.as_ref().filter(|_| self.stored.commits > self.synced.commits)?;
        Some(SyncJob { wal: Arc::clone(wal), opening: self.opening, up_to: self.stored })
    }
}
