//! The parts in a spool of captured content, as far as it had been written when it was opened. The sidecar may run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::bar::ReadingBar;
use super::each_event::EachEvent;
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;

/// The database in the directory.
const DATABASE: &str = "capture.sqlite3";

/// How long a transaction of the sidecar is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Rows that are read in one short transaction: a row has up to 1 MB.
const READ_ROWS: usize = 16;

/// A spool that is open.
pub(super) struct SpoolParts {
    db: Connection,
    dir: PathBuf,
    /// Position of the last part.
    last: u64,
}

impl SpoolParts {
    pub(super) fn open(dir: &Path) -> Result<SpoolParts, ReportError> {
        let named = |error| ReportError::Spool { dir: dir.to_owned(), error };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(dir.join(DATABASE), flags).map_err(named)?;
        db.busy_timeout(BUSY).map_err(named)?;
        let last =
            db.query_row("SELECT coalesce(max(position), 0) FROM part", [], |row| row.get::<_, i64>(0));
        let last = last.map_err(named)?.unsigned_abs();
        Ok(SpoolParts { db, dir: dir.to_owned(), last })
    }

    /// Shows every part.
    pub(super) fn each(&self, bar: &ReadingBar, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
        bar.begin_events(&self.dir.display().to_string(), self.last);
        let mut after = 0;
        while after < self.last {
            let rows =
                self.after(after).map_err(|error| ReportError::Spool { dir: self.dir.clone(), error })?;
            let Some((last, _)) = rows.last() else { break };
            let reached = *last;
            for (position, body) in rows.iter().filter(|(position, _)| *position <= self.last) {
                each(Ok(body), EventOrigin::Spool { dir: &self.dir, position: *position })?;
            }
            bar.advance(reached - after);
            after = reached;
        }
        Ok(())
    }

    fn after(&self, position: u64) -> rusqlite::Result<Vec<(u64, String)>> {
        let sql = "SELECT position, body FROM part WHERE position > ?1 ORDER BY position LIMIT ?2";
        let mut rows = self.db.prepare_cached(sql)?;
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let rows = rows.query_map((position, READ_ROWS as i64), |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
        rows.collect()
    }
}
