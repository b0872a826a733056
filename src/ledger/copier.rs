//! Copies the WAL into the database beside the writer, on a connection of its own: the writer never waits for the
//! disk with it.
//!
//! A copy is SQLite's checkpoint in its mode PASSIVE, which takes no lock of the writer's. It is *whole* if no
//! transaction came meanwhile: then SQLite has synced the database, and the next transaction begins the WAL anew. A copy
//! that was overtaken is good for what it took: the next one has less to do. But SQLite does not sync the database with
//! it, and yet does not copy these pages again. So after a sync of the database that failed, pages may be missing from it
//! that only the WAL has: the WAL's index is *in doubt* until it has been built anew from the WAL (`storage`).

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::schema;
use super::sql::unsigned;

/// How long to wait for another process that recovers the WAL.
const BUSY_MS: u64 = 5_000;

/// A connection for copying.
#[derive(Debug)]
pub(super) struct Copier {
    db: Connection,
}

/// The frames of a WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WalFrames {
    /// Written since the WAL was begun anew.
    pub(super) written: u64,
    /// Of these: copied into the database.
    pub(super) copied: u64,
}

impl Copier {
    /// Opens a database that is open already.
    pub(super) fn open(path: &Path) -> Result<Copier, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_millis(BUSY_MS))?;
        // Whether the index can be relied on at the end, this connection does not know.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.execute_batch("PRAGMA synchronous = NORMAL")?;
        // The first read opens the WAL.
        schema::version(&db)?;
        Ok(Copier { db })
    }

    /// Syncs the WAL and copies what no reader holds back. Waits for the disk, and for nobody else.
    pub(super) fn copy(&self) -> Result<(), StoreError> {
        WalFrames::of(&self.db, "PRAGMA wal_checkpoint(PASSIVE)").map(drop)
    }

    /// The WAL's index was built from the WAL just now: it names nothing as copied.
    pub(super) fn is_index_new(&self) -> Result<bool, StoreError> {
        Ok(WalFrames::look(&self.db)?.copied == 0)
    }
}

impl WalFrames {
    /// As a connection finds them; copies nothing.
    pub(super) fn look(db: &Connection) -> Result<WalFrames, StoreError> {
        WalFrames::of(db, "PRAGMA wal_checkpoint(NOOP)")
    }

    fn of(db: &Connection, pragma: &str) -> Result<WalFrames, StoreError> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get("log")?, row.get("checkpointed")?));
        let (written, copied): (i64, i64) = db.prepare_cached(pragma)?.query_row([], row)?;
        Ok(WalFrames { written: unsigned(written), copied: unsigned(copied) })
    }
}
