//! The tables of work that goes on after its call: who began it, and whether its bill is stored.
//!
//! A row is written in the transaction that stores the event which announces the work, and it is marked in the one that
//! stores the bill. So there is one bill of a ledger, however often and by whomever the work is looked at, and whatever
//! dies meanwhile. Rows are appended in order and go from the old end, so the numbers of the first and the last one
//! say how many there are.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::quota::Quota;
use super::sql::{sql, unsigned};
use metering::usage::{Beginner, DeferredId, DeferredKind};

/// Work that is remembered at once.
const ROWS_MAX: u64 = 100_000;

/// Days for which a service keeps a response that it made in the background.
const KEPT_MS: i64 = 30 * 86_400_000;

/// A realtime session ends within the hour (OpenAI and Azure, "Realtime API"): nobody sees its responses later.
const SESSION_KEPT_MS: i64 = 3_600_000;

/// Part of the database's room for the table. The other one may have as many rows, which are a third as large.
const SHARE: u64 = 8;

/// Bytes of a row with its entry in the index, rounded up: what says who pays, and twice the resource, the kind and
/// the id.
const ROW_BYTES: u64 = BEGINNER_BYTES_MAX as u64 + 1_024;

/// Bytes that are kept of who began the work. Without them the bill is charged to whoever sees it.
const BEGINNER_BYTES_MAX: usize = 2_048;

/// Rows that go in one transaction.
const EXPIRED_MAX: u64 = 4_096;

/// The kind of row that says which batch a file is the output of.
const OUTPUT_FILE: &str = "output_file";

/// One of the two tables: they differ in how long their rows stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table {
    name: &'static str,
    kept_ms: i64,
}

/// Their names.
pub(super) const DEFERRED: &str = "deferred";
pub(super) const SESSION_BILL: &str = "session_bill";

const OF_CALLS: Table = Table { name: DEFERRED, kept_ms: KEPT_MS };
const OF_SESSIONS: Table = Table { name: SESSION_BILL, kept_ms: SESSION_KEPT_MS };

/// The state of some work, as a table knows it.
#[derive(Debug)]
pub(super) enum Known {
    No,
    /// It was announced.
    Due(Option<Box<Beginner>>),
    Billed {
        /// When the bill was stored.
        at_ms: i64,
    },
}

impl Known {
    /// The bill of the work that a call began is stored. One that is older than the call was of other work: somebody
    /// has given the id again.
    pub(super) fn is_billed(&self, beginner: &Beginner) -> bool {
        matches!(self, Known::Billed { at_ms } if *at_ms >= began_ms(beginner))
    }
}

/// When a call began; where that is not known, before everything else.
fn began_ms(beginner: &Beginner) -> i64 {
    beginner.started_at.map_or(i64::MIN, Timestamp::as_millisecond)
}

/// Work, by all that tells it apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkKey<'a> {
    table: Table,
    resource: &'a str,
    kind: &'static str,
    id: &'a str,
}

impl<'a> WorkKey<'a> {
    pub(super) fn of(resource: &'a str, work: &'a DeferredId) -> WorkKey<'a> {
        WorkKey { table: table(work.kind), resource, kind: work.kind.as_str(), id: &work.id }
    }

    fn file(resource: &'a str, file: &'a str) -> WorkKey<'a> {
        WorkKey { table: OF_CALLS, resource, kind: OUTPUT_FILE, id: file }
    }
}

fn table(kind: DeferredKind) -> Table {
    if kind == DeferredKind::RealtimeResponse { OF_SESSIONS } else { OF_CALLS }
}

/// The text that is kept of who began the work: who pays, and the second keys if there is room for them.
fn detail(beginner: &Beginner) -> Result<Option<String>, StoreError> {
    let fits = |detail: &String| detail.len() <= BEGINNER_BYTES_MAX;
    let whole = Some(serde_json::to_string(beginner)?).filter(fits);
    if whole.is_some() {
        return Ok(whole);
    }
    Ok(Some(serde_json::to_string(&beginner.clone().without_second_keys())?).filter(fits))
}

/// Work that a table may hold in a ledger of this size.
pub(super) fn rows_max(quota: &Quota) -> u64 {
    ROWS_MAX.min(quota.database / SHARE / ROW_BYTES)
}

/// The tables within a transaction.
#[derive(Clone, Copy)]
pub(super) struct Deferrals<'a> {
    pub(super) db: &'a Connection,
    pub(super) now_ms: i64,
    /// See [`rows_max`].
    pub(super) rows_max: u64,
}

impl Deferrals<'_> {
    /// Looks up the state of some work.
    pub(super) fn find(&self, key: WorkKey<'_>) -> Result<Known, StoreError> {
        let row = self.row(key)?;
        Ok(match row {
            None => Known::No,
            Some((false, at)) => {
                Known::Billed { at_ms: at.and_then(|at| at.parse().ok()).unwrap_or(i64::MAX) }
            }
            Some((true, detail)) => {
                Known::Due(detail.and_then(|detail| serde_json::from_str(&detail).ok()).map(Box::new))
            }
        })
    }

    /// The work is announced, unless it was, or its bill was seen before.
    pub(super) fn announce(&self, key: WorkKey<'_>, beginner: &Beginner) -> Result<(), StoreError> {
        let known = self.find(key)?;
        if matches!(known, Known::Due(_)) || known.is_billed(beginner) {
            return Ok(());
        }
        self.put(key, true, detail(beginner)?.as_ref())
    }

    /// The bill of the work is stored.
    pub(super) fn mark_billed(&self, key: WorkKey<'_>) -> Result<(), StoreError> {
        self.put(key, false, Some(&self.now_ms.to_string()))
    }

    /// The bill of a batch will stand in a file.
    pub(super) fn note_file(&self, resource: &str, batch: &DeferredId, file: &str) -> Result<(), StoreError> {
        self.put(WorkKey::file(resource, file), false, Some(&batch.id.to_string()))
    }

    /// The batch whose output a file is, if that is known.
    pub(super) fn batch_of(&self, resource: &str, file: &str) -> Result<Option<DeferredId>, StoreError> {
        let detail = self.row(WorkKey::file(resource, file))?.and_then(|(_, detail)| detail);
        Ok(detail.map(|id| DeferredId { kind: DeferredKind::Batch, id: id.into() }))
    }

    /// Deletes what is too old or too much, the oldest first. Returns how many bills are waited for no longer.
    pub(super) fn expire(&self) -> Result<u64, StoreError> {
        Ok(self.expire_from(OF_CALLS)? + self.expire_from(OF_SESSIONS)?)
    }

    fn expire_from(&self, table: Table) -> Result<u64, StoreError> {
        let Table { name, kept_ms } = table;
        let oldest = format!("SELECT number, stored_ms FROM {name} ORDER BY number LIMIT 1");
        let mut oldest = self.db.prepare_cached(&oldest)?;
        let oldest = oldest.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((first, stored_ms)): Option<(i64, i64)> = oldest else { return Ok(0) };
        let last = format!("SELECT max(number) FROM {name}");
        let last: i64 = self.db.prepare_cached(&last)?.query_row([], |row| row.get(0))?;
        let too_many = (unsigned(last - first) + 1).saturating_sub(self.rows_max).min(EXPIRED_MAX);
        let since_ms = self.now_ms.saturating_sub(kept_ms);
        let aged = if stored_ms < since_ms { self.last_aged(table, since_ms)? } else { 0 };
        let up_to = aged.max(first - 1 + sql(too_many));
        if up_to < first {
            return Ok(0);
        }
        let due = format!("SELECT count(*) FROM {name} WHERE number <= ?1 AND due");
        let due: i64 = self.db.prepare_cached(&due)?.query_row([up_to], |row| row.get(0))?;
        self.db.prepare_cached(&format!("DELETE FROM {name} WHERE number <= ?1"))?.execute([up_to])?;
        Ok(unsigned(due))
    }

    /// The number of the last of the oldest rows that were stored before this.
    fn last_aged(&self, table: Table, since_ms: i64) -> Result<i64, StoreError> {
        let aged = format!(
            "SELECT max(number) FROM (SELECT number, stored_ms FROM {} ORDER BY number LIMIT ?1)
             WHERE stored_ms < ?2",
            table.name
        );
        let mut aged = self.db.prepare_cached(&aged)?;
        let last: Option<i64> = aged.query_row(params![sql(EXPIRED_MAX), since_ms], |row| row.get(0))?;
        Ok(last.unwrap_or(0))
    }

    fn row(&self, key: WorkKey<'_>) -> Result<Option<(bool, Option<String>)>, StoreError> {
        let query = format!(
            "SELECT due, detail FROM {} WHERE id = ?1 AND resource = ?2 AND kind = ?3",
            key.table.name
        );
        let mut find = self.db.prepare_cached(&query)?;
        let found =
            find.query_row(params![key.id, key.resource, key.kind], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?)
    }

    fn put(&self, key: WorkKey<'_>, due: bool, detail: Option<&String>) -> Result<(), StoreError> {
        let insert = format!(
            "INSERT INTO {} (stored_ms, resource, kind, id, due, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id, resource, kind) DO UPDATE SET due = excluded.due, detail = excluded.detail",
            key.table.name
        );
        let mut insert = self.db.prepare_cached(&insert)?;
        insert.execute(params![self.now_ms, key.resource, key.kind, key.id, due, detail])?;
        Ok(())
    }
}
