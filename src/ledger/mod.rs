//! The only door through which usage becomes durable.
//!
//! The ledger is an outbox in SQLite: calls that are open, and events that are final. One thread
//! (`tw-ledger`) writes, one transaction for everything that came in during 10 ms, and nobody waits
//! for it: a call reserves its place in a bounded queue before it begins, so telling the ledger that
//! it opened and what it used can neither block nor fail.
//!
//! | file | idea |
//! |---|---|
//! | `queue` | the bounded way from any thread to the writer, and the counters |
//! | `plan` | what one batch of operations means for the tables |
//! | `quota` | how the room that a ledger may take is split |
//! | `ballast` | room kept for the moment when there is none |
//! | `log` | positions, sequences, totals: the one row that every transaction rewrites |
//! | `store` | the database: opening it, and what each transaction writes |
//! | `schema` | the tables, their versions, and the way from each to the next |
//! | `intact` | whether a database is a whole ledger, as far as that can be known at once |
//! | `aside` | a database that cannot be used is moved out of the way |
//! | `writer` | one batch, one transaction, one thread |
//! | `failing` | the state in which nothing can be stored, and the way out of it |
//! | `said` | what the log says of that state |
//! | `retain` | when delivered events go |
//! | `recover` | what a dead process left becomes events |
//! | `sums` | calls that could not be stored one by one |
//! | `reader` | stored events, for the publisher and for other processes |
//! | `lock` | the directory, the one process that owns it, and whether it had to sum calls |
//! | `place` | where a ledger may lie: not where locks and syncs may not hold |

mod aside;
mod ballast;
mod failing;
mod intact;
mod lock;
mod log;
mod place;
mod plan;
mod queue;
mod quota;
mod reader;
mod recover;
mod retain;
mod said;
mod schema;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use uuid::Uuid;

use crate::usage::{Progress, Settled, Usage};
use lock::DirLock;
use queue::Shared;
use quota::Quota;
use writer::Writer;

pub use place::check as check_place;
pub use reader::{ReadError, Reader, RefusedRow, Row};

/// Name of the database within the ledger's directory.
pub const DATABASE: &str = "ledger.sqlite3";

/// What [`Options::new`] gives: the defaults of the settings.
const SLOTS: usize = 65_536;
const KEEP: Duration = Duration::from_secs(7 * 86_400);
const CONTROL_INTERVAL: Duration = Duration::from_secs(60);
const BYTES_MAX: u64 = 10 << 30;

/// How a ledger behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made (0700) if absent.
    pub dir: PathBuf,
    /// Calls that may be open at once; beyond it [`Ledger::reserve`] gives `None`.
    pub slots: usize,
    /// How long delivered events stay.
    pub keep: Duration,
    /// How often a control event is written.
    pub control_interval: Duration,
    /// Somebody publishes; else events count as delivered when stored.
    pub publishes: bool,
    /// Room that the directory may take, in bytes. Above 80 % delivered events go oldest first;
    /// where undelivered ones fill it, calls are summed.
    pub max_bytes: u64,
    /// The directory may lie on a network file system, whose locks and syncs may not hold.
    pub network_fs: bool,
}

impl Options {
    /// A ledger in a directory that behaves as `serve` does by default, and for which nobody
    /// publishes.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            slots: SLOTS,
            keep: KEEP,
            control_interval: CONTROL_INTERVAL,
            publishes: false,
            max_bytes: BYTES_MAX,
            network_fs: false,
        }
    }
}

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("the ledger directory {dir} is in use by {holder}", holder = holder_text(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The owner's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The directory or a file in it could not be made or read.
    #[error("{path}: {error}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// The directory lies where locks and syncs may not hold.
    #[error(
        "the ledger directory {dir} lies on a network file system ({kind}), where locks and syncs may not hold: \
         two processes could write one ledger, and a power cut could take what was stored; use a local disk, \
         or set --ledger-network-fs allow"
    )]
    NetworkFs {
        /// The directory.
        dir: PathBuf,
        /// Which kind of file system.
        kind: &'static str,
    },
    /// A newer version made this ledger.
    #[error("the ledger has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// The version found.
        found: i64,
        /// The latest one known here.
        known: i64,
    },
    /// SQLite could not open or recover the database.
    #[error("{path}: {error}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        error: StoreError,
    },
}

impl OpenError {
    /// The system's error number behind it, if there is one: what to do about it is a matter of that.
    pub fn errno(&self) -> Option<i32> {
        use rusqlite::ErrorCode;
        let errno = match self {
            OpenError::Io { error, .. } => return error.raw_os_error(),
            OpenError::Database { error: StoreError::Sqlite(error), .. } => {
                match error.sqlite_error_code()? {
                    ErrorCode::DiskFull => Errno::NOSPC,
                    ErrorCode::SystemIoFailure => Errno::IO,
                    ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
                        Errno::ACCESS
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(errno.raw_os_error())
    }

    /// The database itself is to blame: trying again cannot help, and nothing can be stored in it.
    /// Not so for errors of the disk or of the directory.
    fn is_damage(&self) -> bool {
        matches!(self, OpenError::Database { error, .. } if error.is_damage())
    }

    /// There is no room: on the volume, or within the quota.
    fn is_full(&self) -> bool {
        match self {
            OpenError::Io { error, .. } => error.kind() == std::io::ErrorKind::StorageFull,
            OpenError::Database { error, .. } => error.is_full(),
            _ => false,
        }
    }
}

fn holder_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The ledger's own state could not be read or written as JSON.
    #[error("ledger state: {0}")]
    State(#[from] serde_json::Error),
    /// The database is not what this program writes.
    #[error("not a whole ledger: {0}")]
    Damaged(String),
    /// Another process has been reading for so long that the WAL cannot be cut.
    #[error("a reader keeps the WAL from being cut; no transaction of a reader may stay open")]
    ReaderInWal,
    /// It was closed after an error and could not be opened again yet.
    #[error("the database is not open")]
    Closed,
}

impl StoreError {
    /// See [`OpenError::is_full`].
    fn is_full(&self) -> bool {
        match self {
            StoreError::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// See [`OpenError::is_damage`]. An I/O error or a full disk is none.
    fn is_damage(&self) -> bool {
        use rusqlite::{Error, ErrorCode};
        match self {
            StoreError::Damaged(_) | StoreError::State(_) => true,
            StoreError::Sqlite(Error::SqliteFailure(error, _)) => {
                matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // A value is not of the type that was stored.
            StoreError::Sqlite(error) => matches!(
                error,
                Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::Utf8Error(..)
            ),
            StoreError::ReaderInWal | StoreError::Closed => false,
        }
    }
}

/// The ledger stopped before everything was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unstored} operations could not be stored")]
pub struct CloseError {
    /// Operations that were not stored. Calls that the ledger knew to be open come back as
    /// crashed at the next start.
    pub unstored: u64,
}

/// The ledger's counters, all since boot, taken at one moment.
///
/// `accepted = settled + open + summed` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that began, or that ended without ever having a slot.
    pub accepted: u64,
    /// Of these: calls whose event is stored.
    pub settled: u64,
    /// Of these: calls that run, and calls that ended less than a commit ago.
    pub open: u64,
    /// Of these: calls that are only in a sum.
    pub summed: u64,
    /// Events stored, of every type.
    pub stored: u64,
    /// Events delivered, or stored where nobody publishes.
    pub delivered: u64,
    /// Events that the broker refused for good.
    pub refused: u64,
    /// Events stored and neither delivered nor refused, those of earlier boots included.
    pub undelivered: u64,
    /// When the first of these was stored, as of a second ago; `None` if there is none.
    pub oldest_undelivered: Option<Timestamp>,
    /// Bytes of the database and its WAL.
    pub bytes: u64,
    /// Bytes that the directory may take.
    pub bytes_max: u64,
    /// A call that begins now would be summed: nothing can be stored, or no place is free.
    pub degraded: bool,
}

/// A ledger that this process owns. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    dir: PathBuf,
    source: String,
    boot: Uuid,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<DirLock>>,
}

/// A reserved place in the ledger's queue: room for one call's whole life.
#[derive(Debug)]
pub struct Slot {
    ledger: Ledger,
    used: bool,
}

/// A call that the ledger knows to be open.
///
/// One that is dropped without [`OpenCall::settle`] stays open, keeps its slot, and becomes a
/// `crashed` event at the next start: wrong code loses no call.
#[derive(Debug)]
pub struct OpenCall {
    ledger: Ledger,
    id: Uuid,
    settled: bool,
}

impl Ledger {
    /// Takes the directory, recovers what an earlier process left, and starts the writer.
    /// Blocks until recovery is committed. A database that is damaged, or is none of ours, is moved
    /// aside within the directory and a new ledger begun.
    ///
    /// # Errors
    /// If another process owns the directory, it lies on a network file system, a newer version
    /// made the ledger, or the directory or the disk cannot be used.
    pub fn open(options: Options) -> Result<Ledger, OpenError> {
        place::check(&options.dir, options.network_fs)?;
        let lock = DirLock::take(&options.dir)?;
        let quota = writer::quota(&options);
        let shared = Arc::new(Shared::new(options.slots, &quota));
        let writer = open_writer(&options, quota, &shared, &lock)?;
        let (source, boot) = (writer.source().to_owned(), writer.boot());
        let thread = std::thread::Builder::new()
            .name("tw-ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Io { path: options.dir.clone(), error })?;
        let (writer, lock) = (Mutex::new(Some(thread)), Mutex::new(Some(lock)));
        let inner = Handle { dir: options.dir, source, boot, shared, writer, lock };
        Ok(Ledger { inner: Arc::new(inner) })
    }

    /// Reserves a place for one call, or `None` if all are taken or nothing can be stored. Never
    /// waits.
    pub fn reserve(&self) -> Option<Slot> {
        self.inner.shared.reserve().then(|| Slot { ledger: self.clone(), used: false })
    }

    /// Stores what is known of open calls, all in one transaction. Never waits; the batch is
    /// skipped if the queue is full, the next one makes up for it.
    pub fn checkpoint(&self, batch: Vec<(Uuid, Progress)>) {
        self.inner.shared.checkpoint(batch);
    }

    /// Counts a finished call that got no slot. It becomes part of a summary event within half a
    /// second, or when the ledger can store again; until then it is in memory only. Never waits.
    pub fn sum(&self, settled: &Settled) {
        self.inner.shared.sum(settled);
    }

    /// CloudEvents `source` of every event of this ledger: `//tokenweir/<ledger uuid>`.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// This start of the ledger.
    pub fn boot(&self) -> Uuid {
        self.inner.boot
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Calls `observe` on the writer's thread with the duration of every transaction that wrote
    /// calls or events. The first observer wins; a second one is ignored.
    pub fn on_commit(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        self.inner.shared.on_commit(Box::new(observe));
    }

    /// Position of the last committed event. Blocks until it is beyond `after`, the writer has
    /// ended, or `timeout` is over.
    pub fn wait_committed(&self, after: u64, timeout: Duration) -> u64 {
        self.inner.shared.wait_committed(after, timeout)
    }

    /// Every event up to this position is delivered or refused.
    pub fn delivered(&self) -> u64 {
        self.inner.shared.delivered()
    }

    /// Every event up to `position` is delivered or refused. Stored with the next transaction, at
    /// the latest after 200 ms. Never waits; a position behind the mark changes nothing.
    pub fn mark_delivered(&self, position: u64) {
        self.inner.shared.mark_delivered(position);
    }

    /// The broker refuses this event for good: it is kept and counted, and the mark may move past
    /// it. Call before [`Ledger::mark_delivered`] passes `position`. Never waits.
    pub fn mark_refused(&self, position: u64, reason: &str) {
        self.inner.shared.mark_refused(position, reason);
    }

    /// Stores everything handed over so far and the boot's last control event. Blocks until that
    /// is committed or has failed for good. No call is accepted from here on; marks still are.
    ///
    /// If a call is still open, no last control event is written: the next start settles the
    /// call and writes it.
    ///
    /// # Errors
    /// If something could not be stored.
    pub fn finish(&self) -> Result<(), CloseError> {
        self.inner.shared.finish()
    }

    /// [`Ledger::finish`], then stores the last marks, ends the writer and lets go of the
    /// directory. May be repeated.
    ///
    /// # Errors
    /// If something could not be stored.
    pub fn close(&self) -> Result<(), CloseError> {
        self.inner.close()
    }
}

/// Opens the database, or begins a new one if the one that is there cannot be used.
fn open_writer(
    options: &Options,
    quota: Quota,
    shared: &Arc<Shared>,
    lock: &DirLock,
) -> Result<Writer, OpenError> {
    let open = || Writer::open(options, quota, Arc::clone(shared), lock.marker()?);
    // Twice, so that one bad read costs no ledger.
    let damage = match open().or_else(|error| if error.is_damage() { open() } else { Err(error) }) {
        Err(error) if error.is_damage() => error,
        other => return other,
    };
    let moved = aside::move_aside(&options.dir.join(DATABASE), Timestamp::now())?;
    tracing::error!(
        error = %damage,
        moved_to = %moved.display(),
        "the ledger is damaged: it was moved aside and a new one is begun; events in it that were not delivered \
         will not be, until somebody sees to it: save what can be read with `sqlite3 FILE .recover | sqlite3 \
         NEWDIR/{DATABASE}`, or copy FILE and FILE-wal to NEWDIR/{DATABASE} and {DATABASE}-wal, then `tokenweir \
         events --ledger NEWDIR` shows it and `tokenweir drain --ledger NEWDIR` delivers it under the same ids"
    );
    open()
}

impl Handle {
    fn close(&self) -> Result<(), CloseError> {
        let finished = self.shared.finish();
        self.shared.stop();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the ledger's writer panicked");
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        finished
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the ledger was closed in haste");
        }
    }
}

impl Slot {
    /// Tells the ledger that the call is open. Never waits.
    pub fn open(self, id: Uuid, draft: &Usage) -> OpenCall {
        self.open_shared(id, Arc::new(draft.clone()))
    }

    /// The same, of a draft that the call shares with the ledger.
    pub fn open_shared(mut self, id: Uuid, draft: Arc<Usage>) -> OpenCall {
        self.used = true;
        self.ledger.inner.shared.open(id, draft);
        OpenCall { ledger: self.ledger.clone(), id, settled: false }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.used {
            self.ledger.inner.shared.give_back(1);
        }
    }
}

impl OpenCall {
    /// The call's id, which becomes its event's.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Stores the call's event in place of its open entry. Never waits, cannot fail. The event
    /// takes this call's id, whatever `settled` says.
    pub fn settle(mut self, mut settled: Settled) {
        self.settled = true;
        settled.id = self.id;
        self.ledger.inner.shared.settle(settled);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.settled {
            tracing::error!(id = %self.id, "a call was dropped unsettled; the next start settles it as crashed");
        }
    }
}
