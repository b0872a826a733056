//! Whether a ledger can lie where it is told to: what the system would say when it is opened, asked
//! beforehand and without touching anything, so that `check` finds it too.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::choices::NetworkFs;
use super::resolve::Values;
use super::settings::LEDGER_NETWORK_FS;
use crate::ledger;

/// A new ledger and its WAL take 0.2 MB before there is an event in them; with less than this there is
/// no beginning. One that exists may be opened on a full volume: it has kept room back.
const NEW_LEDGER_BYTES: u64 = 1 << 20;

/// Whether a ledger, or a spool, may lie on a file system of the network.
pub fn network_fs(values: &Values) -> bool {
    values.get(&LEDGER_NETWORK_FS) == Some(NetworkFs::Allow)
}

/// The fault of a ledger's directory and the remedy; `None` if no fault can be seen.
pub(super) fn problem(dir: &Path, network_fs: bool) -> Option<String> {
    match seen(dir, network_fs) {
        Ok(()) => None,
        Err(Problem::Said(text)) => Some(text),
        Err(Problem::Io(path, error)) => {
            Some(format!("{}: {error}; {}", path.display(), advice(error.raw_os_error())))
        }
    }
}

enum Problem {
    Said(String),
    Io(PathBuf, io::Error),
}

fn seen(dir: &Path, network_fs: bool) -> Result<(), Problem> {
    let there = existing(dir)?;
    let io = |error: Errno| Problem::Io(there.clone(), error.into());
    if !there.is_dir() {
        return Err(Problem::Said(no_directory(dir, &there)));
    }
    ledger::check_place(dir, network_fs).map_err(|error| Problem::Said(error.to_string()))?;
    let read = if there == dir { Access::READ_OK } else { Access::empty() };
    may(&there, read | Access::WRITE_OK | Access::EXEC_OK)?;
    let database = dir.join(ledger::DATABASE);
    if database.exists() {
        return files(dir);
    }
    let volume = statvfs(&there).map_err(io)?;
    let room = volume.f_bavail.saturating_mul(volume.f_frsize);
    if room < NEW_LEDGER_BYTES || (volume.f_files > 0 && volume.f_favail == 0) {
        return Err(io(Errno::NOSPC));
    }
    Ok(())
}

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> Result<PathBuf, Problem> {
    for there in dir.ancestors() {
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        match there.symlink_metadata() {
            Ok(_) => return Ok(there.to_owned()),
            // A file where a directory should be is told when the walk has come to it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Problem::Io(there.to_owned(), error)),
        }
    }
    Err(Problem::Io(dir.to_owned(), Errno::NOENT.into()))
}

/// The message for `there`, which exists and is no directory.
fn no_directory(dir: &Path, there: &Path) -> String {
    let shown = there.display();
    if let Ok(target) = there.read_link() {
        return format!(
            "{shown} is a link to {}, which is no directory; {}",
            target.display(),
            advice(Some(Errno::NOTDIR.raw_os_error()))
        );
    }
    let parent = there.parent().filter(|parent| parent.join(ledger::DATABASE) == there);
    if let Some(parent) = parent.filter(|_| dir == there) {
        return format!(
            "{shown} is the database itself; give the directory that it lies in, {}",
            parent.display()
        );
    }
    let inside = if dir == there { String::new() } else { format!(", so {} cannot be made", dir.display()) };
    format!("{shown} is a file{inside}; {}", advice(Some(Errno::NOTDIR.raw_os_error())))
}

/// Files of a ledger that is there: all of them are written.
fn files(dir: &Path) -> Result<(), Problem> {
    for name in [ledger::DATABASE, "lock"] {
        let path = dir.join(name);
        if path.exists() {
            may(&path, Access::READ_OK | Access::WRITE_OK)?;
        }
    }
    Ok(())
}

/// Whether this process may do so, as its effective user.
fn may(path: &Path, access: Access) -> Result<(), Problem> {
    accessat(CWD, path, access, AtFlags::EACCESS).map_err(|error| match error {
        Errno::ACCESS => Problem::Said(denied(path, &error.into())),
        _ => Problem::Io(path.to_owned(), error.into()),
    })
}

/// Who may not, and who may.
fn denied(path: &Path, error: &io::Error) -> String {
    let owner = path.metadata().map(|found| {
        format!(
            " (it belongs to user {}, mode {:o}; this is user {})",
            found.uid(),
            found.mode() & 0o777,
            geteuid().as_raw()
        )
    });
    let advice = advice(error.raw_os_error());
    format!("{}: {error}{}; {advice}", path.display(), owner.unwrap_or_default())
}

/// The remedy for a directory or a file of the ledger that gives this error number.
pub fn advice(errno: Option<i32>) -> &'static str {
    match errno.map(Errno::from_raw_os_error) {
        Some(Errno::EXIST | Errno::NOTDIR | Errno::ISDIR) => {
            "name a directory of its own; it is made if it is not there"
        }
        Some(Errno::NOENT) => {
            "nothing can be made there: name a directory on a disk, and make or mount its parent first"
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            "let the user that runs this read and write it (chown; fsGroup in Kubernetes), or name another directory"
        }
        Some(Errno::ROFS) => {
            "mount the volume for writing, or name a directory on one that is: a container with a read-only root needs a \
             volume for it"
        }
        Some(Errno::NOSPC | Errno::DQUOT) => {
            "make room on its volume, or name a directory on another; --ledger-max-bytes says how much a ledger may take"
        }
        Some(Errno::IO) => {
            "its disk fails: look at the system's log (dmesg), and name a directory on another disk"
        }
        Some(Errno::NAMETOOLONG) => "name a directory with a shorter path",
        Some(Errno::LOOP) => "its links lead in a circle: name a directory without them",
        Some(Errno::MFILE | Errno::NFILE) => "allow more open files (ulimit -n, LimitNOFILE)",
        Some(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
            "its file system lacks what a ledger needs (locks, syncs): name a directory on a local disk"
        }
        _ => "name a directory on a local disk that this user can write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error that making, locking or writing a directory and a file can give (mkdir, open, flock,
    /// write, fsync of Linux's manual) has advice of its own.
    #[test]
    fn whatever_the_system_says_there_is_something_to_do() {
        let general = advice(None);
        for errno in [
            Errno::ACCESS,
            Errno::DQUOT,
            Errno::EXIST,
            Errno::INVAL,
            Errno::IO,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::MFILE,
            Errno::NAMETOOLONG,
            Errno::NFILE,
            Errno::NOENT,
            Errno::NOSPC,
            Errno::NOSYS,
            Errno::NOTDIR,
            Errno::OPNOTSUPP,
            Errno::PERM,
            Errno::ROFS,
        ] {
            assert_ne!(advice(Some(errno.raw_os_error())), general, "{errno:?}");
        }
    }

    #[test]
    fn a_place_that_will_do_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        for place in [dir.path().to_owned(), dir.path().join("a/b/c")] {
            assert_eq!(problem(&place, false), None);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(dir.path().join(ledger::DATABASE), "").unwrap();
        assert_eq!(problem(dir.path(), false), None);
        assert_eq!(problem(Path::new("not-there-yet"), false), None);
    }
}
