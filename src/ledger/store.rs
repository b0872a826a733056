//! The database: opening it, and what each transaction writes.
//!
//! Rows are appended in order and deleted from the old end, so a transaction touches the last page
//! of `event` and of `open`, one page of `state`, and no index. That is also why a settled call's
//! row in `open` is not deleted at once: picked one by one, each deletion would rewrite a page of
//! its own. They are swept in thousands; until then `event.call` says which are over.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use uuid::Uuid;

use super::batch::{Batch, ControlDue};
use super::copier::WalFrames;
use super::error::{OpenError, StoreError};
use super::lock::{open_private, sync_dir};
use super::log::{CoveredRow, Log};
use super::quota::Quota;
use super::schema::{self, Standing};
use super::sql::{sql, unsigned};
use super::sums::Sum;
use super::{deferred, integrity, quarantine};
use metering::usage::{CloudEvent, ControlKey, EventType, RowHash, Settled, TokenTotals, Units};

/// Five events of 1.5 KiB fill a page of this size to nine tenths; 4 KiB pages hold two and waste
/// a quarter.
const PAGE_BYTES: u32 = 8_192;

/// Pages cached in memory: the tails of the tables, and the rows that are swept.
const CACHE_KIB: i32 = 8_192;

/// How long to wait for another process that recovers or copies the WAL.
const BUSY_MS: u64 = 5_000;

/// The header before each page in the WAL (SQLite, "The WAL File Format").
const FRAME_HEAD_BYTES: u64 = 24;

/// Prepared statements kept: more than this module and `deferred` have.
const STATEMENTS: usize = 64;

/// The database, open for writing.
#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
    page_bytes: u64,
    /// Work that each of the tables of `deferred` may hold.
    deferred_max: u64,
    /// The WAL, to be synced by another thread.
    wal: Arc<File>,
    /// Signs control events.
    key: Option<ControlKey>,
}

/// Bytes of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DatabaseSize {
    /// All pages.
    pub(super) bytes: u64,
    /// Pages that hold something.
    pub(super) used: u64,
}

impl Store {
    /// Opens the database, makes it (0600) if it is absent, brings it up to date, and looks whether
    /// it is whole.
    ///
    /// # Errors
    /// [`OpenError::Newer`]; [`OpenError::Database`], of which [`OpenError::is_damage`] says whether
    /// the file is to blame; [`OpenError::Io`].
    pub(super) fn open(path: &Path, key: Option<ControlKey>) -> Result<Store, OpenError> {
        if let Some(wal) = quarantine::move_orphan(path, Timestamp::now())? {
            tracing::error!(wal = %wal.display(), "a WAL without its database was moved aside");
        }
        drop(open_private(path)?);
        let database = |error| OpenError::Database { path: path.to_owned(), error };
        let mut db = Connection::open(path).map_err(|error| database(error.into()))?;
        let found = prepare(&db).map_err(database)?;
        match schema::standing(found, schema::VERSION) {
            Standing::Current => {}
            Standing::Empty => {
                let replaces = quarantine::latest(path)?;
                let name = replaces.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
                schema::create(&mut db, name.as_deref()).map_err(database)?;
            }
            Standing::Older => {
                tracing::warn!(
                    from = found,
                    to = schema::VERSION,
                    "the ledger is brought to a newer version"
                );
                schema::migrate(&mut db, found, schema::STEPS).map_err(database)?;
            }
            Standing::Newer => return Err(OpenError::Newer { found, known: schema::VERSION }),
            Standing::Impossible => {
                return Err(database(StoreError::Damaged(format!("user_version is {found}"))));
            }
        }
        integrity::check(&db).map_err(database)?;
        let wal = open_wal(path)?;
        Ok(Store { db, page_bytes: u64::from(PAGE_BYTES), deferred_max: u64::MAX, wal, key })
    }

    /// The WAL: whoever syncs it makes durable what was committed before.
    pub(super) fn wal(&self) -> Arc<File> {
        Arc::clone(&self.wal)
    }

    /// The name of the database that was moved aside for this one, if one was.
    pub(super) fn replaces(&self) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM state WHERE name = 'replaces'";
        Ok(self.db.query_row(query, [], |row| row.get(0)).optional()?)
    }

    /// CloudEvents `source` of this ledger.
    pub(super) fn source(&self) -> Result<String, StoreError> {
        let query = "SELECT value FROM state WHERE name = 'ledger'";
        let ledger: Option<String> = self.db.query_row(query, [], |row| row.get(0)).optional()?;
        let uuid = ledger.as_deref().and_then(|ledger| Uuid::try_parse(ledger).ok());
        let uuid =
            uuid.ok_or_else(|| StoreError::Damaged("it does not say which ledger it is".to_owned()))?;
        Ok(format!("//tokenweir/{uuid}"))
    }

    /// The log as the last committed transaction left it; `None` in a new ledger.
    pub(super) fn log(&self) -> Result<Option<Log>, StoreError> {
        Log::read(&self.db)
    }

    /// Copies the WAL into the database, syncs that and cuts the WAL. After an error nothing is
    /// known of what a failed sync of the WAL left behind; this makes what is visible durable again,
    /// and the next commit begins a WAL of its own.
    ///
    /// # Errors
    /// Also if a reader is still in the WAL: then frames that may not be durable would stay in it,
    /// before those of the next commit.
    pub(super) fn settle_wal(&self) -> Result<(), StoreError> {
        let busy: i64 = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(StoreError::ReaderInWal);
        }
        // That the WAL was cut is not durable yet. After a power cut it could be back, without the
        // frames that a failed sync lost, and its older pages would cover those just copied.
        self.begin_wal()
    }

    /// Begins a WAL that was copied whole anew: a commit does that, and syncs its header. No older page counts from
    /// there on.
    pub(super) fn begin_wal(&self) -> Result<(), StoreError> {
        self.db.pragma_update(None, "user_version", schema::VERSION)?;
        Ok(())
    }

    /// Holds the database and its WAL to their parts of the room.
    pub(super) fn bound(&mut self, quota: &Quota) -> Result<(), StoreError> {
        self.page_bytes = unsigned(self.db.pragma_query_value(None, "page_size", |row| row.get(0))?).max(1);
        self.deferred_max = deferred::rows_max(quota);
        self.db.execute_batch(&format!("PRAGMA journal_size_limit = {}", quota.wal_kept))?;
        Ok(())
    }

    /// Bytes of the WAL that were written since it was begun anew, and how many of them are not copied yet.
    pub(super) fn wal_bytes(&self) -> Result<(u64, u64), StoreError> {
        let (frames, frame_bytes) = (WalFrames::look(&self.db)?, self.page_bytes + FRAME_HEAD_BYTES);
        Ok((frames.written * frame_bytes, frames.written.saturating_sub(frames.copied) * frame_bytes))
    }

    /// Closes the database, which else would copy the WAL if nobody else has it open, and leaves the WAL as it is.
    pub(super) fn close_without_copy(self) -> Result<(), StoreError> {
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(())
    }

    /// Bytes that the database may have from now on. Less than it has is not possible, and means
    /// that it does not grow.
    pub(super) fn limit(&self, bytes: u64) -> Result<(), StoreError> {
        let pages = bytes / self.page_bytes;
        self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    }

    /// How large the database is, and how much of it is in use.
    pub(super) fn size(&self) -> Result<DatabaseSize, StoreError> {
        let pages = |pragma| -> Result<u64, StoreError> {
            Ok(unsigned(self.db.prepare_cached(pragma)?.query_row([], |row| row.get(0))?))
        };
        let (all, free) = (pages("PRAGMA page_count")?, pages("PRAGMA freelist_count")?);
        Ok(DatabaseSize { bytes: all * self.page_bytes, used: all.saturating_sub(free) * self.page_bytes })
    }

    /// When the first event after a position was stored.
    pub(super) fn stored_at(&self, after: u64) -> Result<Option<Timestamp>, StoreError> {
        let query = "SELECT stored_ms FROM event WHERE position > ?1 ORDER BY position LIMIT 1";
        let mut first = self.db.prepare_cached(query)?;
        let ms: Option<i64> = first.query_row([sql(after)], |row| row.get(0)).optional()?;
        Ok(ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    }

    /// Begins a transaction that appends.
    pub(super) fn begin(&mut self, log: Log, source: &str) -> Result<Append<'_>, StoreError> {
        let tx = self.db.transaction()?;
        let (now, deferred_max) = (Timestamp::now(), self.deferred_max);
        let (source, key) = (source.to_owned(), self.key.as_ref());
        Ok(Append { tx, log, source, key, now, deferred_max, buffer: Vec::new() })
    }

    /// Writes a batch in one transaction and returns the log as it leaves it. With `stored_counts`
    /// the mark follows the last event.
    pub(super) fn write(
        &mut self,
        batch: &mut Batch,
        log: &Log,
        source: &str,
        stored_counts: bool,
    ) -> Result<Log, StoreError> {
        let mut append = self.begin(log.clone(), source)?;
        // First, so that a full database can take the rest.
        append.sweep(&batch.sweep)?;
        append.opened(batch)?;
        for closed in &batch.closed {
            append.closed(closed.number, &closed.settled, closed.deferral.as_ref())?;
            append.log.boot.settled += 1;
        }
        append.bills(&mut batch.bills)?;
        append.notes(&batch.notes)?;
        for sum in &batch.sums {
            append.sum(sum)?;
        }
        append.marks(batch)?;
        append.log.boot.degraded |= batch.degraded;
        if batch.may_defer() {
            append.expire_deferred()?;
        }
        if let Some(due) = batch.control {
            append.control(due)?;
        }
        if !batch.sweep.is_empty() {
            append.log.swept = append.log.last;
        }
        if stored_counts {
            append.log.mark = append.log.last;
        }
        append.commit()
    }

    /// Deletes delivered events that were stored before `before_ms`, looking at no more than
    /// `limit` rows after `hand`. Returns the position looked at last, or `hand` at the end.
    pub(super) fn retire(
        &mut self,
        hand: u64,
        mark: u64,
        before_ms: i64,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let tx = self.db.transaction()?;
        let found: Option<i64> = {
            let mut last = tx.prepare_cached(
                "SELECT max(position) FROM (SELECT position, stored_ms FROM event
                 WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3)
                 WHERE stored_ms < ?4",
            )?;
            last.query_row(params![sql(hand), sql(mark), sql(limit), before_ms], |row| row.get(0))?
        };
        let Some(last) = found else { return Ok(hand) };
        tx.prepare_cached(
            "DELETE FROM event WHERE position > ?1 AND position <= ?2
             AND position NOT IN (SELECT position FROM refused)",
        )?
        .execute(params![sql(hand), last])?;
        tx.commit()?;
        Ok(unsigned(last))
    }
}

/// Sets a connection up and returns the version found; 0 in a new database. Nothing is written before it is known
/// whose the database is.
fn prepare(db: &Connection) -> Result<i64, StoreError> {
    db.busy_timeout(Duration::from_millis(BUSY_MS))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    integrity::check_owner(db)?;
    let found = schema::version(db)?;
    if matches!(schema::standing(found, schema::VERSION), Standing::Newer | Standing::Impossible) {
        return Ok(found);
    }
    // The page size counts only while the file is empty, and before WAL mode. NORMAL: a commit is durable when the
    // WAL is synced (`syncer`), and a copy of the WAL syncs both files itself. SQLite by itself would copy in the midst
    // of any commit, ignore what goes wrong with that, and have a later commit wait for the disk.
    db.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -{CACHE_KIB};"
    ))?;
    Ok(found)
}

/// Opens the WAL of a database that is open, and makes the names of both files durable.
fn open_wal(path: &Path) -> Result<Arc<File>, OpenError> {
    let path = quarantine::wal_of(path);
    let wal = File::open(&path).map_err(|error| OpenError::Io { path: path.clone(), error })?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(Arc::new(wal))
}

/// A transaction that appends events. Dropped without [`Append::commit`], it leaves nothing.
pub(super) struct Append<'a> {
    pub(super) tx: Transaction<'a>,
    pub(super) log: Log,
    source: String,
    pub(super) key: Option<&'a ControlKey>,
    pub(super) now: Timestamp,
    pub(super) deferred_max: u64,
    buffer: Vec<u8>,
}

impl Append<'_> {
    /// Appends the event of one call.
    pub(super) fn usage(&mut self, number: Option<u64>, settled: &Settled) -> Result<(), StoreError> {
        let usage = &settled.usage;
        let mut event = CloudEvent::new(
            EventType::Usage,
            &self.source,
            settled.id.to_string(),
            Some(format!("{:.3}", settled.time)),
            usage.caller.id.clone(),
            usage,
        );
        event.traceparent.clone_from(&usage.ids.traceparent);
        self.append_covered(number, event, usage.tokens.totals(), &usage.units)
    }

    /// Appends a row that the next control event covers.
    fn append_covered<T: Serialize>(
        &mut self,
        number: Option<u64>,
        event: CloudEvent<T>,
        tokens: TokenTotals,
        units: &Units,
    ) -> Result<(), StoreError> {
        let sequence = self.append(number, event)?;
        // The buffer holds the bytes that were stored last.
        let hash = RowHash::of(&self.buffer);
        self.log.boot.cover(CoveredRow { sequence, hash, tokens, units }, self.key);
        Ok(())
    }

    /// Appends a control event that speaks of the running boot, and begins the next period.
    fn control(&mut self, due: ControlDue) -> Result<(), StoreError> {
        let control = self.log.boot.control(due.open, due.last, self.key);
        self.control_event(control)?;
        let boot = &mut self.log.boot;
        boot.previous = Some(boot.as_previous());
        (boot.since, boot.degraded, boot.finished) = (super::log::Since::default(), false, due.last);
        Ok(())
    }

    /// Appends a control event. Its subject is the boot that writes it, whose sequence it carries;
    /// `data.instance` is the boot that it speaks of.
    pub(super) fn control_event(&mut self, control: metering::usage::Control) -> Result<(), StoreError> {
        let time = Some(format!("{:.3}", self.now));
        let (id, boot) = (Uuid::now_v7().to_string(), self.log.boot.id.to_string());
        let event = CloudEvent::new(EventType::Control, &self.source, id, time, boot, control);
        let event = event.with_sequence(self.log.boot.sequence + 1).sealed(self.key)?;
        self.append(None, event)?;
        Ok(())
    }

    fn sum(&mut self, sum: &Sum) -> Result<(), StoreError> {
        let data = sum.summary(self.log.boot.id);
        let event = CloudEvent::new(
            EventType::Summary,
            &self.source,
            sum.id.to_string(),
            Some(data.period.to.clone()),
            sum.payer().to_owned(),
            data,
        );
        self.append_covered(None, event, sum.tokens.totals(), &sum.units)?;
        self.log.boot.summed += sum.calls;
        Ok(())
    }

    /// Numbers an event, serialises it for good and stores it.
    fn append<T: Serialize>(&mut self, number: Option<u64>, event: CloudEvent<T>) -> Result<u64, StoreError> {
        let (position, sequence) = self.log.advance();
        let body = text(&mut self.buffer, &event.with_sequence(sequence))?;
        let mut insert = self.tx.prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![sql(position), self.now.as_millisecond(), number.map(sql), body])?;
        Ok(sequence)
    }

    fn opened(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut open = self.tx.prepare_cached("INSERT INTO open VALUES (?1, ?2, ?3)")?;
        for call in &batch.opened {
            let draft = text(&mut self.buffer, &*call.draft)?;
            open.execute(params![sql(call.number), call.id.as_bytes(), draft])?;
        }
        let mut progress = self.tx.prepare_cached("INSERT OR REPLACE INTO progress VALUES (?1, ?2)")?;
        for (number, known) in &batch.progress {
            let body = text(&mut self.buffer, known)?;
            progress.execute(params![sql(*number), body])?;
        }
        Ok(())
    }

    fn marks(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut refuse = self.tx.prepare_cached("INSERT OR IGNORE INTO refused VALUES (?1, ?2)")?;
        for (position, reason) in &batch.refused {
            self.log.boot.refused += refuse.execute(params![sql(*position), reason])? as u64;
        }
        self.log.mark = self.log.mark.max(batch.mark.min(self.log.last));
        Ok(())
    }

    fn sweep(&mut self, numbers: &[u64]) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut open = self.tx.prepare_cached("DELETE FROM open WHERE number = ?1")?;
        let mut progress = self.tx.prepare_cached("DELETE FROM progress WHERE number = ?1")?;
        for number in numbers {
            open.execute([sql(*number)])?;
            progress.execute([sql(*number)])?;
        }
        Ok(())
    }

    /// Commits, and returns the log as it now stands. The syncer makes it durable.
    pub(super) fn commit(mut self) -> Result<Log, StoreError> {
        self.log.commits += 1;
        let log = text(&mut self.buffer, &self.log)?;
        self.tx.prepare_cached("INSERT OR REPLACE INTO state VALUES ('log', ?1)")?.execute([log])?;
        self.tx.commit()?;
        Ok(self.log)
    }
}

/// A value as JSON text, in a buffer that is used again and again.
fn text<'a>(buffer: &'a mut Vec<u8>, value: &impl Serialize) -> Result<&'a str, StoreError> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, value)?;
    std::str::from_utf8(buffer).map_err(|error| StoreError::Sqlite(error.into()))
}
