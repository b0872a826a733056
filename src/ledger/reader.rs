//! Stored events, for the publisher and for other processes, also while the ledger is being
//! written. Every read is one short transaction, so no reader keeps the WAL from being cut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Params};

use super::error::StoreError;
use super::log::Log;
use super::options::DATABASE;
use super::schema::{self, Standing};
use super::sql::{sql, unsigned};

/// How long a read waits for a process that recovers the WAL.
const BUSY_MS: u64 = 5_000;

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no ledger in the directory.
    #[error("{0}: no ledger here")]
    Absent(PathBuf),
    /// The database in the directory is no ledger.
    #[error("{0}: the database here is not a ledger")]
    Foreign(PathBuf),
    /// A newer version made this ledger.
    #[error("the ledger has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// The version found.
        found: i64,
        /// The latest one known here.
        known: i64,
    },
    /// SQLite could not read it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> ReadError {
        ReadError::Store(error.into())
    }
}

/// One stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the ledger, over all boots; grows by one with every event.
    pub position: u64,
    /// The serialised CloudEvent, final.
    pub body: String,
}

/// One event that the broker refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The event.
    pub row: EventRow,
    /// The broker's words.
    pub reason: String,
}

/// A read-only view of a ledger.
#[derive(Debug)]
pub struct LedgerReader {
    db: Connection,
}

impl LedgerReader {
    /// Opens the ledger in a directory.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(dir: &Path) -> Result<LedgerReader, ReadError> {
        let path = dir.join(DATABASE);
        if !path.is_file() {
            return Err(ReadError::Absent(dir.to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_millis(BUSY_MS))?;
        let (found, known) = (schema::version(&db)?, schema::VERSION);
        let standing = schema::standing(found, known);
        let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        match standing {
            Standing::Empty => Err(ReadError::Absent(dir.to_owned())),
            _ if application != schema::APPLICATION_ID => Err(ReadError::Foreign(dir.to_owned())),
            // What is read here has been the same in all versions.
            Standing::Current | Standing::Older => Ok(LedgerReader { db }),
            Standing::Newer => Err(ReadError::Newer { found, known }),
            Standing::Impossible => Err(ReadError::Foreign(dir.to_owned())),
        }
    }

    /// Up to `limit` events after a position, in order.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn after(&self, position: u64, limit: usize) -> Result<Vec<EventRow>, ReadError> {
        self.after_within(position, limit, usize::MAX)
    }

    /// The same, no more once they have so many bytes, but one event if there is one.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn after_within(
        &self,
        position: u64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EventRow>, ReadError> {
        let query = "SELECT position, body FROM event WHERE position > ?1 ORDER BY position LIMIT ?2";
        rows_within(&self.db, query, (sql(position), sql(limit as u64)), bytes_max)
    }

    /// The event at a position, unless it is gone.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn at(&self, position: u64) -> Result<Option<EventRow>, ReadError> {
        let rows = self.rows("SELECT position, body FROM event WHERE position = ?1", [sql(position)])?;
        Ok(rows.into_iter().next())
    }

    /// The oldest event that is not kept only because it was refused: retention has come so far.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn first_unrefused(&self) -> Result<Option<EventRow>, ReadError> {
        let query = "SELECT position, body FROM event
             WHERE position NOT IN (SELECT position FROM refused) ORDER BY position LIMIT 1";
        Ok(self.rows(query, [])?.into_iter().next())
    }

    /// Up to `limit` refused events after a position, in order.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn refused(&self, after: u64, limit: usize) -> Result<Vec<RefusedRow>, ReadError> {
        let mut query = self.db.prepare_cached(
            "SELECT position, body, reason FROM refused JOIN event USING (position)
             WHERE position > ?1 ORDER BY position LIMIT ?2",
        )?;
        let rows = query.query_map((sql(after), sql(limit as u64)), |row| {
            let event = EventRow { position: unsigned(row.get(0)?), body: row.get(1)? };
            Ok(RefusedRow { row: event, reason: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The position before the last `count` events, or before the last refused ones; 0 if there are no more.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn before_last(&self, count: u64, refused: bool) -> Result<u64, ReadError> {
        let table = if refused { "refused" } else { "event" };
        let query = format!("SELECT position FROM {table} ORDER BY position DESC LIMIT 1 OFFSET ?1");
        let found = self.db.query_row(&query, [sql(count)], |row| row.get(0)).optional()?;
        Ok(found.map_or(0, unsigned))
    }

    /// Calls that are open, or were when the process died.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn open_calls(&self) -> Result<u64, ReadError> {
        let query = "SELECT count(*) FROM open WHERE number NOT IN
             (SELECT call FROM event WHERE position > ?1 AND call IS NOT NULL)";
        // Both reads must see the same commit: a sweep moves the one and deletes the other.
        let tx = self.db.unchecked_transaction()?;
        let swept = state(&tx)?.map_or(0, |log| log.swept);
        Ok(unsigned(tx.query_row(query, [sql(swept)], |row| row.get(0))?))
    }

    /// Position of the last event stored; 0 if there was none.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn last(&self) -> Result<u64, ReadError> {
        Ok(state(&self.db)?.map_or(0, |log| log.last))
    }

    /// Every event up to this position is delivered or refused.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn delivered(&self) -> Result<u64, ReadError> {
        Ok(state(&self.db)?.map_or(0, |log| log.mark))
    }

    fn rows(&self, query: &str, parameters: impl Params) -> Result<Vec<EventRow>, ReadError> {
        rows_within(&self.db, query, parameters, usize::MAX)
    }
}

/// The rows of a query for positions and bodies: no more once they have so many bytes.
///
/// # Errors
/// If the database cannot be read.
fn rows_within(
    db: &Connection,
    query: &str,
    parameters: impl Params,
    bytes_max: usize,
) -> Result<Vec<EventRow>, ReadError> {
    let mut query = db.prepare_cached(query)?;
    let (mut rows, mut found, mut bytes) = (query.query(parameters)?, Vec::new(), 0);
    while bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        let row = EventRow { position: unsigned(row.get(0)?), body: row.get(1)? };
        bytes += row.body.len();
        found.push(row);
    }
    Ok(found)
}

fn state(db: &Connection) -> Result<Option<Log>, ReadError> {
    Ok(Log::read(db)?)
}
