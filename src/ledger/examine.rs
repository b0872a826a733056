//! The place of a ledger, tried before a start: what file system it is, how much room there is, whether a file can be
//! written and synced, and who has the ledger open. Nothing is left behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{statfs, statvfs};
use uuid::Uuid;

use super::filesystem;
use super::lock;

/// What is written: a page of the database.
const TRIAL_BYTES: usize = 4_096;

/// Only the owner reads what lies beside a ledger.
const FILE_MODE: u32 = 0o600;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The kind of the file system; in hex where its name is not known.
    pub filesystem: String,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// How long a small file took to be written and synced; `None`: the directory is made at the first start.
    pub sync_time: Option<Duration>,
    /// Whether somebody has it open, and the process if that is known.
    pub owner: Option<Option<u32>>,
}

/// The version of the library that keeps ledgers.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

/// Looks at the place of a ledger, which need not be there yet.
///
/// # Errors
/// What the system says to reading, writing or syncing there, with the path.
pub fn examine(dir: &Path) -> Result<Examined, (PathBuf, io::Error)> {
    let there = filesystem::existing(dir);
    let of = |path: &Path, error: io::Error| (path.to_owned(), error);
    let kind = statfs(there).map_err(|error| of(there, error.into()))?;
    let room = statvfs(there).map_err(|error| of(there, error.into()))?;
    let is_there = dir.is_dir();
    Ok(Examined {
        filesystem: filesystem::name(kind.f_type as u32),
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        sync_time: if is_there { Some(written(dir)?) } else { None },
        owner: owner(dir),
    })
}

/// Writes and syncs a file that is gone afterwards.
fn written(dir: &Path) -> Result<Duration, (PathBuf, io::Error)> {
    let path = dir.join(format!(".tokenweir-check-{}", Uuid::new_v4()));
    let begun = Instant::now();
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        file.write_all(&[0; TRIAL_BYTES])?;
        file.sync_all()
    };
    let done = write();
    let took = begun.elapsed();
    let removed = if path.exists() { fs::remove_file(&path) } else { Ok(()) };
    done.and(removed).map(|()| took).map_err(|error| (path, error))
}

/// Who has the ledger open. The lock is asked for shared, and let go at once.
fn owner(dir: &Path) -> Option<Option<u32>> {
    let mut file = File::open(dir.join(lock::LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(lock::read_pid(&mut file)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock::DirLock;
    use super::*;

    #[test]
    fn a_place_is_tried_and_left_as_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("ledger");
        let absent = examine(&dir).unwrap();
        assert!(absent.sync_time.is_none() && absent.owner.is_none() && absent.free_bytes > 0, "{absent:?}");
        fs::create_dir(&dir).unwrap();
        let empty = examine(&dir).unwrap();
        assert!(empty.sync_time.is_some() && empty.owner.is_none(), "{empty:?}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "something was left behind");
        let lock = DirLock::take(&dir).unwrap();
        assert_eq!(examine(&dir).unwrap().owner, Some(Some(std::process::id())));
        drop(lock);
        assert_eq!(examine(&dir).unwrap().owner, None);
        DirLock::take(&dir).unwrap();
    }
}
