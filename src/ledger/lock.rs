//! The ledger's directory, the one process that owns it, and whether that process had to sum calls.
//!
//! The lock file is two lines of fixed width, overwritten in place: on a full volume that needs no
//! room. The second line outlives the process, so that its successor can say what was lost with it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::options::DATABASE;

/// Name of the lock within the directory.
pub(super) const LOCK: &str = "lock";

/// Width of the first line, the owner's process id, without its end.
const PID_BYTES: usize = 10;

/// The second line, in one width.
const OK: &str = "ok      \n";
const DEGRADED: &str = "degraded\n";

/// Only the owner reads usage.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory that this process owns until the value is dropped, or the process dies.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
    was_degraded: bool,
}

/// The second line of the lock file: calls are summed in memory, or nothing can be stored, and a
/// crash would lose what is not stored.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    degraded: bool,
}

impl DirLock {
    /// Makes the directory if it is absent and locks it.
    pub(crate) fn take(dir: &Path) -> Result<DirLock, OpenError> {
        make_dir(dir)?;
        let path = dir.join(LOCK);
        let mut file = open_private(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { dir: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::Io { path, error }),
        }
        let was_degraded = write_pid(&mut file).map_err(|error| OpenError::Io { path, error })?;
        Ok(DirLock { file, was_degraded })
    }

    /// The marker, as the last owner left it.
    pub(super) fn marker(&self) -> Result<Marker, OpenError> {
        let clone = self.file.try_clone();
        let file = clone.map_err(|error| OpenError::Io { path: PathBuf::from(LOCK), error })?;
        Ok(Marker { file, degraded: self.was_degraded })
    }
}

impl Marker {
    /// Whether the last process died while it summed calls.
    pub(super) fn degraded(&self) -> bool {
        self.degraded
    }

    /// Writes it where it has changed. An error is no reason to stop: the marker is for a crash
    /// that may never come.
    pub(super) fn set(&mut self, degraded: bool) {
        if degraded == self.degraded {
            return;
        }
        self.degraded = degraded;
        let line = if degraded { DEGRADED } else { OK };
        let written = self.file.write_all_at(line.as_bytes(), PID_BYTES as u64 + 1);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            tracing::warn!(%error, "the lock file cannot be written; after a crash nobody would know that calls were summed");
        }
    }
}

/// Makes a directory if it is absent. As long as there is no ledger in it, its own name and those above it are made
/// durable: all of it would be gone after a loss of power, with events that were published.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: dir.to_owned(), error };
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(io)?;
    if !dir.join(DATABASE).exists() {
        let dir = dir.canonicalize().map_err(io)?;
        dir.ancestors().skip(1).try_for_each(sync_parent)?;
    }
    Ok(())
}

/// Syncs a directory that others may have made; one that may not be read was made by them.
fn sync_parent(dir: &Path) -> Result<(), OpenError> {
    match sync_dir(dir) {
        Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Opens a file for reading and writing, made with mode 0600 if it is absent.
pub(crate) fn open_private(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| OpenError::Io { path: PathBuf::from(path), error })
}

/// Makes new names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    let sync = File::open(dir).and_then(|dir| dir.sync_all());
    sync.map_err(|error| OpenError::Io { path: dir.to_owned(), error })
}

/// Writes who owns the directory, and returns what the last owner left in the second line.
fn write_pid(file: &mut File) -> io::Result<bool> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let left = text.lines().nth(1).map(str::trim);
    file.write_all_at(format!("{:<PID_BYTES$}\n", std::process::id()).as_bytes(), 0)?;
    if left.is_none() {
        file.write_all_at(OK.as_bytes(), PID_BYTES as u64 + 1)?;
    }
    Ok(left == Some(DEGRADED.trim()))
}

pub(super) fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn second_owner_is_refused_by_name_and_a_dead_one_is_forgotten() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        let first = DirLock::take(&dir).unwrap();
        let refused = DirLock::take(&dir).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(dir.to_str().unwrap()), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(first);
        DirLock::take(&dir).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join(LOCK))), (0o700, 0o600));
    }

    #[test]
    fn the_marker_outlives_its_process_and_needs_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK);
        // A lock of an earlier version: one line.
        std::fs::write(&path, "4711\n").unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let mut marker = lock.marker().unwrap();
        assert!(!marker.degraded());
        let bytes = std::fs::metadata(&path).unwrap().len();
        marker.set(true);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
        assert_eq!(read_pid(&mut File::open(&path).unwrap()), Some(std::process::id()));
        drop((lock, marker));
        let lock = DirLock::take(dir.path()).unwrap();
        let mut marker = lock.marker().unwrap();
        assert!(marker.degraded());
        marker.set(false);
        drop((lock, marker));
        assert!(!DirLock::take(dir.path()).unwrap().marker().unwrap().degraded());
    }
}
