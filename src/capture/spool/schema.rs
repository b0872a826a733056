//! The tables of a spool, and whether a database is a whole one, as far as that can be known at once.

use rusqlite::{Connection, OptionalExtension};

use super::log::SpoolLog;
use crate::ledger::{StoreError, sql, unsigned};

/// `user_version` of [`TABLES`].
pub(super) const VERSION: i64 = 1;

/// `application_id`: the bytes `twcp`, so that `file` and people can tell what this is.
const APPLICATION_ID: i64 = 0x7477_6370;

const TABLES: &str = "
    -- Parts and control events, final. `position` is never used again.
    CREATE TABLE part (position INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    -- Those that the broker refuses for good.
    CREATE TABLE refused (position INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT;
    -- `log`: everything that changes with each commit. `replaces`: what became of the database that was here before,
    -- where one was moved aside.
    CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The version of a database that is a spool, or a new one.
///
/// # Errors
/// [`StoreError::Damaged`] if it belongs to another program, or whatever SQLite says.
pub(super) fn version(db: &Connection) -> Result<i64, StoreError> {
    let number = |pragma| -> rusqlite::Result<i64> { db.pragma_query_value(None, pragma, |row| row.get(0)) };
    let (version, id) = (number("user_version")?, number("application_id")?);
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let new = tables == 0 && id == 0 && version == 0;
    if !new && (id != APPLICATION_ID || version <= 0) {
        return Err(StoreError::Damaged(format!(
            "application_id is {id:#x}, this is not a spool of content"
        )));
    }
    Ok(version)
}

/// Makes the tables of a new spool, in one transaction. `replaces` names the database that was moved aside for it.
pub(super) fn create(db: &mut Connection, replaces: Option<&str>) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    tx.execute_batch(TABLES)?;
    if let Some(replaces) = replaces {
        tx.execute("INSERT INTO state VALUES ('replaces', ?1)", [replaces])?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(())
}

/// The log as the last committed transaction left it; `None` in a new spool.
pub(super) fn log(db: &Connection) -> Result<Option<SpoolLog>, StoreError> {
    Ok(state(db, "log")?.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// The value of a name.
pub(super) fn state(db: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    Ok(db.query_row("SELECT value FROM state WHERE name = ?1", [name], |row| row.get(0)).optional()?)
}

/// Looks whether the tables, the log and the rows at both ends are there and make sense.
///
/// # Errors
/// [`StoreError::Damaged`] naming what is wrong, or whatever SQLite says.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    for query in [
        "SELECT position, body FROM part",
        "SELECT position, reason FROM refused",
        "SELECT name, value FROM state",
    ] {
        db.prepare(query).map_err(|error| match error {
            error @ rusqlite::Error::SqliteFailure(..) if !is_missing(&error) => StoreError::Sqlite(error),
            error => StoreError::Damaged(error.to_string()),
        })?;
    }
    let (last, mark) = log(db)?.map_or((0, 0), |log| (log.last, log.mark));
    let newest: Option<i64> = db.query_row("SELECT max(position) FROM part", [], |row| row.get(0))?;
    if mark > last || newest.is_some_and(|newest| unsigned(newest) > last) {
        return Err(StoreError::Damaged(format!(
            "its log ends at {last}, delivered are {mark}, its rows end at {newest:?}"
        )));
    }
    check_row(db, "SELECT body FROM part WHERE position > ?1 ORDER BY position LIMIT 1", mark)?;
    check_row(db, "SELECT body FROM part WHERE position <= ?1 ORDER BY position DESC LIMIT 1", last)
}

/// A row that is to be sent is an event.
fn check_row(db: &Connection, query: &str, position: u64) -> Result<(), StoreError> {
    let body: Option<String> = db.query_row(query, [sql(position)], |row| row.get(0)).optional()?;
    let read = body.as_deref().map(serde_json::from_str::<&serde_json::value::RawValue>);
    read.transpose()?;
    Ok(())
}

/// SQLite says `SQLITE_ERROR` of a table or a column that is not there.
fn is_missing(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown)
}
