//! Whether a database is a whole ledger, as far as that can be known at once.
//!
//! A full check reads every page: minutes for 10 GiB, and a start must take less than two seconds.
//! So what is read does not grow with the events that are stored:
//!
//! - the header, by SQLite: that it is a database, and not cut short;
//! - whose it is, and which version (`application_id`, `user_version`);
//! - that every table is there with its columns, and the one row that all else hangs on makes sense;
//! - the pages of the small tables, which recovery reads whole in any case;
//! - the events at both ends, and those to be delivered next: each is there and is JSON.
//!
//! Damage that this does not find is found by the reader that meets it: the publisher stops in front of it, and the
//! next start sees it, because it is then what is to be delivered next. A flipped bit within an
//! event's text is not found here. SQLite keeps no checksum of a page; control totals show it.

use rusqlite::{Connection, ErrorCode, params};

use super::deferred::{DEFERRED, SESSION_BILL};
use super::error::StoreError;
use super::log::Log;
use super::schema;
use super::sql::{sql, unsigned};

/// Events looked at in each of three places: about 1.5 MiB each. More than the publisher reads at
/// once, so that the page at which it stops is among them.
const EVENTS: u32 = 1_024;

/// One query for each table, naming all that the others use.
const SHAPES: &[(&str, &str)] = &[
    ("event", "SELECT position, stored_ms, call, body FROM event"),
    ("open", "SELECT number, id, draft FROM open"),
    ("progress", "SELECT number, body FROM progress"),
    ("refused", "SELECT position, reason FROM refused"),
    ("state", "SELECT name, value FROM state"),
    (DEFERRED, "SELECT number, stored_ms, resource, kind, id, due, detail FROM deferred"),
    (SESSION_BILL, "SELECT number, stored_ms, resource, kind, id, due, detail FROM session_bill"),
];

/// Tables small enough to be checked whole. `open` and `progress` hold a row for each call that was
/// running; those of work that goes on have a bound of their own.
const SMALL: &[&str] = &["open", "progress", "refused", "state", DEFERRED, SESSION_BILL];

/// Whether a database belongs to another program. A new one belongs to none.
///
/// # Errors
/// [`StoreError::Damaged`] if it is, or whatever SQLite says.
pub(super) fn check_owner(db: &Connection) -> Result<(), StoreError> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let new = tables == 0 && id == 0 && schema::version(db)? == 0;
    if id != schema::APPLICATION_ID && !new {
        return Err(StoreError::Damaged(format!("application_id is {id:#x}, this is not a ledger")));
    }
    Ok(())
}

/// Looks at a database of the current version; see the head of this file.
///
/// # Errors
/// [`StoreError::Damaged`] naming what is wrong, or whatever SQLite says.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    for (table, query) in SHAPES {
        db.prepare(query).map_err(|error| not_ours(table, error))?;
    }
    // One snapshot, although this is the only writer: a migration by hand is possible.
    let tx = db.unchecked_transaction()?;
    for table in SMALL {
        check_pages(&tx, table)?;
    }
    // A ledger that was made but never recovered has no log, and no events.
    let log = Log::read(&tx)?;
    if let Some(log) = &log {
        check_log(log)?;
    }
    check_events(&tx, log.as_ref())
}

fn damaged(table: &str, what: &str) -> StoreError {
    StoreError::Damaged(format!("table {table}: {what}"))
}

/// SQLite reports damage and the disk's errors by codes of their own; what it cannot prepare for
/// another reason is no table of ours.
fn not_ours(table: &str, error: rusqlite::Error) -> StoreError {
    let unknown = matches!(error, rusqlite::Error::SqlInputError { .. })
        || error.sqlite_error_code() == Some(ErrorCode::Unknown);
    if unknown { damaged(table, &error.to_string()) } else { error.into() }
}

fn check_pages(db: &Connection, table: &str) -> Result<(), StoreError> {
    let found: String = db.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(damaged(table, &found)) }
}

fn check_log(log: &Log) -> Result<(), StoreError> {
    let sane = log.mark <= log.last && log.swept <= log.last;
    if sane { Ok(()) } else { Err(damaged("state", "the counts of the log contradict each other")) }
}

/// The events at both ends and behind the mark can be read, and those behind the mark are all there.
fn check_events(db: &Connection, log: Option<&Log>) -> Result<(), StoreError> {
    let (last, mark) = log.map_or((0, 0), |log| (log.last, log.mark));
    let newest: Option<i64> = db.query_row("SELECT max(position) FROM event", [], |row| row.get(0))?;
    let newest = newest.map_or(0, unsigned);
    // Delivered events may be gone, all others must be there.
    if newest > last || (last > mark && newest < last) {
        return Err(damaged("event", &format!("it ends at {newest}, and {last} were stored")));
    }
    let behind_mark = last.saturating_sub(mark).min(u64::from(EVENTS));
    let ends = [(0, None), (mark, Some(behind_mark)), (last.saturating_sub(u64::from(EVENTS)), None)];
    for (after, expected) in ends {
        let (there, broken) = look(db, after)?;
        if broken > 0 {
            return Err(damaged("event", &format!("{broken} events behind {after} are not JSON")));
        }
        if expected.is_some_and(|expected| expected != there) {
            return Err(damaged("event", &format!("events behind {after}, the mark, are missing")));
        }
    }
    Ok(())
}

/// How many of the positions behind `after` have an event, and how many of these are not JSON.
fn look(db: &Connection, after: u64) -> Result<(u64, u64), StoreError> {
    let query = "SELECT count(*), count(*) FILTER (WHERE NOT json_valid(body)) FROM event
                 WHERE position > ?1 AND position <= ?1 + ?2";
    let found = db.query_row(query, params![sql(after), EVENTS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((unsigned(found.0), unsigned(found.1)))
}
