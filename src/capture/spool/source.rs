//! The spool as an outbox of the publisher. It reads by a connection of its own, each time in one short transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::damage::SIGNS;
use super::marks::SpoolMarks;
use crate::ledger::{EventRow, ReadError, sql, unsigned};
use crate::publish::EventSource;

/// How long a read waits for the writer that recovers the WAL.
const BUSY_MS: u64 = 2_000;

/// A spool of this process, to be published.
#[derive(Debug)]
pub struct SpoolSource {
    path: PathBuf,
    marks: Arc<SpoolMarks>,
    db: Option<Connection>,
    /// The number of the database that is read.
    database: u64,
    /// Errors in a row that say that it is damaged.
    signs: u32,
}

impl SpoolSource {
    pub(super) fn new(path: PathBuf, marks: Arc<SpoolMarks>) -> SpoolSource {
        SpoolSource { path, marks, db: None, database: 0, signs: 0 }
    }

    /// Reads on in another database, if the writer has given this one up.
    fn follow(&mut self) {
        let database = self.marks.database();
        if std::mem::replace(&mut self.database, database) != database {
            (self.db, self.signs) = (None, 0);
        }
    }

    /// Takes note of an error. The writer reads little of what it has stored, so it is told of damage.
    fn met(&mut self, error: &ReadError) {
        // The writer may have to open the database anew, and needs it for itself.
        self.db = None;
        if !matches!(error, ReadError::Store(error) if error.is_damage()) {
            return;
        }
        self.signs += 1;
        if self.signs >= SIGNS {
            self.marks.found_damage(self.database, error.to_string());
        }
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
        self.follow();
        let mut found = Vec::new();
        match self.db().and_then(|db| read(db, position, rows_max, bytes_max, &mut found)) {
            Ok(()) => self.signs = 0,
            // Rows that stand before the damage are delivered; the next read begins with the error.
            Err(_) if !found.is_empty() => {}
            Err(error) => {
                self.met(&error);
                return Err(error);
            }
        }
        Ok(found)
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

/// Reads rows after a position, and leaves those that came before an error.
fn read(
    db: &Connection,
    position: u64,
    rows_max: usize,
    bytes_max: usize,
    found: &mut Vec<EventRow>,
) -> Result<(), ReadError> {
    let query = "SELECT position, body FROM part WHERE position > ?1 ORDER BY position LIMIT ?2";
    let mut query = db.prepare_cached(query)?;
    let (mut rows, mut bytes) = (query.query((sql(position), sql(rows_max as u64)))?, 0);
    while bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        let row = EventRow { position: unsigned(row.get(0)?), body: row.get(1)? };
        bytes += row.body.len();
        found.push(row);
    }
    Ok(())
}
