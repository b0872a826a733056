//! The ledger's directory, and the one process that owns it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

/// Name of the lock within the directory. It holds the owner's process id, as text.
const LOCK: &str = "lock";

/// Only the owner reads usage.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory that this process owns until the value is dropped, or the process dies.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if it is absent and locks it.
    pub(super) fn take(dir: &Path) -> Result<DirLock, OpenError> {
        let make = DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir);
        make.map_err(|error| OpenError::Io { path: dir.to_owned(), error })?;
        let path = dir.join(LOCK);
        let mut file = open_private(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { dir: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::Io { path, error }),
        }
        write_pid(&mut file).map_err(|error| OpenError::Io { path, error })?;
        Ok(DirLock { _file: file })
    }
}

/// Opens a file for reading and writing, made with mode 0600 if it is absent.
pub(super) fn open_private(path: &Path) -> Result<File, OpenError> {
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
pub(super) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    let sync = File::open(dir).and_then(|dir| dir.sync_all());
    sync.map_err(|error| OpenError::Io { path: dir.to_owned(), error })
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
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
}
