//! The spool as an outbox of the publisher. It reads by a connection of its own, each time in one short transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::marks::SpoolMarks;
use crate::ledger::{EventRow, ReadError, rows_within, sql};
use crate::publish::EventSource;

/// How long a read waits for the writer that recovers the WAL.
const BUSY_MS: u64 = 2_000;

/// A spool of this process, to be published.
#[derive(Debug)]
pub struct SpoolSource {
    path: PathBuf,
    marks: Arc<SpoolMarks>,
    db: Option<Connection>,
}

impl SpoolSource {
    pub(super) fn new(path: PathBuf, marks: Arc<SpoolMarks>) -> SpoolSource {
        SpoolSource { path, marks, db: None }
    }

    fn db(&mut self) -> Result<&Connection, ReadError> {
        if self.db.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(&self.path, flags)?;
            db.busy_timeout(Duration::from_millis(BUSY_MS))?;
            self.db = Some(db);
        }
        self.db.as_ref().ok_or_else(|| ReadError::Absent(self.path.clone()))
    }
}

impl EventSource for SpoolSource {
    fn name(&self) -> &'static str {
        "capture spool"
    }

    fn after(
        &mut self,
        position: u64,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<EventRow>, ReadError> {
        let query = "SELECT position, body FROM part WHERE position > ?1 ORDER BY position LIMIT ?2";
        let rows =
            self.db().and_then(|db| rows_within(db, query, (sql(position), sql(rows_max as u64)), bytes_max));
        if rows.is_err() {
            // The writer may have to open the database anew, and needs it for itself.
            self.db = None;
        }
        rows
    }

    fn stored(&self) -> u64 {
        self.marks.stored()
    }

    fn wait_synced(&self, after: u64, timeout: Duration) -> u64 {
        self.marks.wait_stored(after, timeout)
    }

    fn delivered(&self) -> u64 {
        self.marks.delivered()
    }

    fn mark_delivered(&self, position: u64) {
        self.marks.set_delivered(position);
    }

    fn mark_refused(&self, position: u64, reason: &str) {
        self.marks.refuse(position, reason.to_owned());
    }
}
