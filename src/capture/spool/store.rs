//! The database of a spool: opening it, and what each transaction writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{CloudEvent, ContentControl, ContentType};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;
use smol_str::SmolStr;
use uuid::Uuid;

use super::error::SpoolError;
use super::log::{CallTotals, PartTotals, SpoolLog};
use super::part::SealedPart;
use super::schema;
use crate::ledger::{StoreError, latest, move_orphan, open_private, sql, sync_dir, unsigned, wal_of};

/// A row of content fills many pages; a small one wastes less than in larger ones.
const PAGE_BYTES: u32 = 8_192;

/// Pages cached in memory: the rows of one transaction.
const CACHE_KIB: i32 = 8_192;

/// How long to wait for another process that recovers or copies the WAL. Blocks wait meanwhile, and have memory for
/// longer than that.
const BUSY_MS: u64 = 2_000;

/// SQLite copies the WAL into the database once it has so many pages: 16 MiB, two full transactions.
const WAL_PAGES: u32 = 2_048;

/// The database, open for writing.
#[derive(Debug)]
pub(super) struct SpoolStore {
    db: Connection,
    path: PathBuf,
    wal_bytes_max: u64,
    source: SmolStr,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct SpoolBatch<'a> {
    pub(super) parts: Vec<&'a mut SealedPart>,
    /// Everything up to here is delivered.
    pub(super) mark: u64,
    pub(super) refused: &'a [(u64, String)],
    pub(super) calls: CallTotals,
    /// Parts cannot be stored, or could not be for a time.
    pub(super) degraded: bool,
    /// A control event ends it, which may be the boot's last one.
    pub(super) control: Option<ControlKind>,
}

/// The kinds of control events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum ControlKind {
    Periodic,
    Final,
}

impl SpoolStore {
    /// Opens the database, makes it (0600) if it is absent, and looks whether it is whole.
    pub(super) fn open(path: &Path, source: SmolStr) -> Result<SpoolStore, SpoolError> {
        if let Some(wal) = move_orphan(path, Timestamp::now())? {
            tracing::error!(wal = %wal.display(), "a WAL without its database was moved aside");
        }
        drop(open_private(path)?);
        let database = |error| SpoolError::Database { path: path.to_owned(), error };
        let mut db = Connection::open(path).map_err(|error| database(error.into()))?;
        let found = prepare(&db).map_err(database)?;
        if found > schema::VERSION {
            return Err(SpoolError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        if found == 0 {
            let replaces = latest(path)?;
            let name = replaces.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
            schema::create(&mut db, name.as_deref()).map_err(database)?;
        }
        schema::check(&db).map_err(database)?;
        path.parent().map_or(Ok(()), sync_dir)?;
        Ok(SpoolStore { db, path: path.to_owned(), wal_bytes_max: u64::MAX, source })
    }

    /// The log as the last committed transaction left it; `None` in a new spool.
    pub(super) fn log(&self) -> Result<Option<SpoolLog>, StoreError> {
        schema::log(&self.db)
    }

    /// A database was moved aside for this one.
    pub(super) fn replaces_another(&self) -> Result<bool, StoreError> {
        Ok(schema::state(&self.db, "replaces")?.is_some())
    }

    /// Holds the database and its WAL to their parts of the room. Less than it has is not possible, and means that it
    /// does not grow.
    pub(super) fn limit(&mut self, database_bytes: u64, wal_bytes: u64) -> Result<(), StoreError> {
        self.wal_bytes_max = wal_bytes;
        self.db.execute_batch(&format!("PRAGMA journal_size_limit = {wal_bytes}"))?;
        let pages = database_bytes / u64::from(PAGE_BYTES);
        self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    }

    /// After an error nothing is known of what a failed sync of the WAL left behind: copies the WAL into the database,
    /// which syncs that, and begins the next WAL with a commit of its own.
    pub(super) fn settle_wal(&self) -> Result<(), StoreError> {
        self.cut_wal()?;
        self.db.pragma_update(None, "user_version", schema::VERSION)?;
        Ok(())
    }

    fn cut_wal(&self) -> Result<(), StoreError> {
        let busy: i64 = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::ReaderInWal) }
    }

    /// Cuts the WAL if a reader has kept SQLite from beginning it anew for too long.
    ///
    /// # Errors
    /// If the reader is still there: the WAL would grow without a bound.
    pub(super) fn bound_wal(&self) -> Result<(), StoreError> {
        if self.wal_bytes() > self.wal_bytes_max { self.cut_wal() } else { Ok(()) }
    }

    fn wal_bytes(&self) -> u64 {
        std::fs::metadata(wal_of(&self.path)).map_or(0, |wal| wal.len())
    }

    /// Bytes of the database's pages that hold something.
    pub(super) fn used_bytes(&self) -> Result<u64, StoreError> {
        let pages = |pragma| -> Result<u64, StoreError> {
            Ok(unsigned(self.db.prepare_cached(pragma)?.query_row([], |row| row.get(0))?))
        };
        let used = pages("PRAGMA page_count")?.saturating_sub(pages("PRAGMA freelist_count")?);
        Ok(used * u64::from(PAGE_BYTES))
    }

    /// Bytes that a row takes of the database: whole pages, and one for the tree above them.
    pub(super) fn row_bytes(body_bytes: usize) -> u64 {
        (body_bytes as u64 / u64::from(PAGE_BYTES - 4) + 2) * u64::from(PAGE_BYTES)
    }

    /// Writes a batch in one transaction and returns the log as it leaves it.
    pub(super) fn write(
        &mut self,
        batch: &mut SpoolBatch<'_>,
        log: &SpoolLog,
    ) -> Result<SpoolLog, StoreError> {
        let mut append = self.begin(log.clone())?;
        // First, so that the rest has their room.
        append.marks(batch)?;
        for part in &mut batch.parts {
            append.part(part)?;
        }
        append.log.boot.calls = std::mem::take(&mut batch.calls);
        append.log.boot.degraded |= batch.degraded;
        if let Some(kind) = batch.control {
            let last = kind == ControlKind::Final;
            let boot = &append.log.boot;
            append.control(boot.control(last))?;
            let boot = &mut append.log.boot;
            (boot.since, boot.degraded, boot.finished) = (PartTotals::default(), false, last);
        }
        append.commit()
    }

    /// Begins a transaction that appends.
    pub(super) fn begin(&mut self, log: SpoolLog) -> Result<SpoolAppend<'_>, StoreError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(SpoolAppend { tx, log, source: self.source.clone(), buffer: Vec::new() })
    }
}

/// A transaction that appends rows. Dropped without [`SpoolAppend::commit`], it leaves nothing.
pub(super) struct SpoolAppend<'a> {
    tx: Transaction<'a>,
    pub(super) log: SpoolLog,
    source: SmolStr,
    buffer: Vec<u8>,
}

impl SpoolAppend<'_> {
    /// Moves the mark, and deletes what is delivered and not refused.
    fn marks(&mut self, batch: &SpoolBatch<'_>) -> Result<(), StoreError> {
        let mut refuse = self.tx.prepare_cached("INSERT OR IGNORE INTO refused VALUES (?1, ?2)")?;
        for (position, reason) in batch.refused {
            self.log.boot.refused += refuse.execute(params![sql(*position), reason])? as u64;
        }
        let (before, mark) = (self.log.mark, batch.mark.min(self.log.last));
        if mark > before {
            let mut delete = self.tx.prepare_cached(
                "DELETE FROM part WHERE position > ?1 AND position <= ?2
                 AND position NOT IN (SELECT position FROM refused)",
            )?;
            delete.execute([sql(before), sql(mark)])?;
            self.log.mark = mark;
        }
        Ok(())
    }

    fn part(&mut self, part: &mut SealedPart) -> Result<(), StoreError> {
        let sequence = self.log.boot.sequence + 1;
        part.event.sequence = Some(format!("{sequence:020}"));
        self.append(&part.event)?;
        // The buffer holds the bytes that were stored last.
        self.log.boot.cover(sequence, &self.buffer, part.unstored.bytes_raw);
        Ok(())
    }

    /// Appends a control event. Its subject is the boot that writes it, whose sequence it carries; `data.instance` is
    /// the boot that it speaks of.
    pub(super) fn control(&mut self, control: ContentControl) -> Result<(), StoreError> {
        let (id, boot) = (Uuid::now_v7().to_string(), self.log.boot.id.to_string());
        let time = Some(format!("{:.3}", Timestamp::now()));
        let event = CloudEvent::new(ContentType::Control, self.source.clone(), id, time, boot, control);
        self.append(&event.with_sequence(self.log.boot.sequence + 1))
    }

    fn append(&mut self, event: &impl Serialize) -> Result<(), StoreError> {
        let (position, _) = self.log.advance();
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, event)?;
        let body = std::str::from_utf8(&self.buffer).map_err(|error| StoreError::Sqlite(error.into()))?;
        self.tx.prepare_cached("INSERT INTO part VALUES (?1, ?2)")?.execute(params![sql(position), body])?;
        Ok(())
    }

    /// Commits, which waits for the disk, and returns the log as it now stands.
    pub(super) fn commit(mut self) -> Result<SpoolLog, StoreError> {
        self.log.commits += 1;
        let log = serde_json::to_string(&self.log)?;
        self.tx.prepare_cached("INSERT OR REPLACE INTO state VALUES ('log', ?1)")?.execute([log])?;
        self.tx.commit()?;
        Ok(self.log)
    }
}

/// Sets a connection up and returns the version found; 0 in a new database. Nothing is written before it is known
/// whose the database is.
fn prepare(db: &Connection) -> Result<i64, StoreError> {
    db.busy_timeout(Duration::from_millis(BUSY_MS))?;
    let found = schema::version(db)?;
    if found <= schema::VERSION {
        // The page size counts only while the file is empty, and before WAL mode. FULL: a commit is durable.
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_BYTES};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {WAL_PAGES};
             PRAGMA cache_size = -{CACHE_KIB};"
        ))?;
    }
    Ok(found)
}
