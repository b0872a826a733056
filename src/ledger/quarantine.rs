//! A database that cannot be used is moved out of the way, whole, and a new ledger begun.
//!
//! Traffic flows on, nothing is deleted, and nothing of the old ledger is guessed at: the new one
//! has a UUID of its own, so its events are never taken for the old one's, and its first control
//! event says `degraded`. A person decides what becomes of the old one.
//!
//! Three renames are not one step. The database goes first, then its WAL: a crash between them
//! leaves a WAL without a database, which the next start moves too. SQLite would delete it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::error::OpenError;
use super::lock::sync_dir;

/// Stands between the database's name and the time, in the name of one that was moved aside.
const INFIX: &str = ".corrupt-";

/// Databases moved aside within one second: beyond it something else is wrong.
const NAMES_MAX: u32 = 100;

/// Files that SQLite keeps beside a database. The WAL's content is part of the ledger.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Renames a database and its companions, and makes that durable. Returns the new path.
///
/// # Errors
/// If that cannot be done; then the database is where it was.
pub(crate) fn move_aside(path: &Path, time: Timestamp) -> Result<PathBuf, OpenError> {
    let target = free_name(path, time)?;
    rename(path, &target)?;
    move_companions(path, &target)?;
    Ok(target)
}

/// Moves the WAL of a database that is gone or empty: the rest of a move that was cut short, or of
/// a database that was deleted. Returns its new path, if there was one.
///
/// # Errors
/// If it cannot be moved.
pub(crate) fn move_orphan(path: &Path, time: Timestamp) -> Result<Option<PathBuf>, OpenError> {
    if size(path)? > 0 || size(&beside(path, COMPANIONS[0]))? == 0 {
        return Ok(None);
    }
    let unfinished = latest(path)?.filter(|target| !beside(target, COMPANIONS[0]).exists());
    let target = match unfinished {
        Some(target) => target,
        None => free_name(path, time)?,
    };
    move_companions(path, &target)?;
    Ok(Some(beside(&target, COMPANIONS[0])))
}

/// The database moved aside last, or whatever is left of it.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn latest(path: &Path) -> Result<Option<PathBuf>, OpenError> {
    // The time in the name sorts as text.
    Ok(moved_aside(path)?.pop_last().map(|name| path.with_file_name(name)))
}

/// The names of the databases that were moved aside, or of whatever is left of them.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn moved_aside(path: &Path) -> Result<BTreeSet<String>, OpenError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(BTreeSet::new()) };
    let io = |error| OpenError::Io { path: dir.to_owned(), error };
    let prefix = format!("{}{INFIX}", name.to_string_lossy());
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let found = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        let base = COMPANIONS.iter().find_map(|end| found.strip_suffix(end)).unwrap_or(&found);
        if base.starts_with(&prefix) {
            names.insert(base.to_owned());
        }
    }
    Ok(names)
}

fn move_companions(path: &Path, target: &Path) -> Result<(), OpenError> {
    for end in COMPANIONS {
        rename(&beside(path, end), &beside(target, end))?;
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// A name beside the database that nothing has: `ledger.sqlite3.corrupt-20261122T091504Z`.
fn free_name(path: &Path, time: Timestamp) -> Result<PathBuf, OpenError> {
    let stamp = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let names = (1..=NAMES_MAX).map(|n| match n {
        1 => beside(path, &format!("{INFIX}{stamp}")),
        n => beside(path, &format!("{INFIX}{stamp}.{n:03}")),
    });
    let taken = |name: &PathBuf| name.exists() || COMPANIONS.iter().any(|end| beside(name, end).exists());
    let mut free = names.filter(|name| !taken(name));
    free.next().ok_or_else(|| {
        let error = std::io::Error::new(ErrorKind::AlreadyExists, "too many databases moved aside");
        OpenError::Io { path: path.to_owned(), error }
    })
}

/// The WAL of a database.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    beside(path, COMPANIONS[0])
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Size of a file; 0 if there is none.
fn size(path: &Path) -> Result<u64, OpenError> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(OpenError::Io { path: path.to_owned(), error }),
    }
}

/// Renames a file, if it is there.
fn rename(from: &Path, to: &Path) -> Result<(), OpenError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(OpenError::Io { path: from.to_owned(), error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn all_three_files_go_and_no_name_is_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        for content in ["one", "two"] {
            for end in ["", "-wal", "-shm"] {
                fs::write(beside(&path, end), format!("{content}{end}")).unwrap();
            }
            let target = move_aside(&path, noon()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            assert_eq!(fs::read_to_string(beside(&target, "-wal")).unwrap(), format!("{content}-wal"));
            assert_eq!(latest(&path).unwrap(), Some(target));
        }
        let (first, second) = ("db.corrupt-20261122T120000Z", "db.corrupt-20261122T120000Z.002");
        let all = [first, second].map(|name| ["-shm", "-wal", ""].map(|end| format!("{name}{end}")));
        let mut expected = all.concat();
        expected.sort();
        assert_eq!(names(dir.path()), expected);
        assert_eq!(moved_aside(&path).unwrap(), [first, second].map(str::to_owned).into());
        assert_eq!(moved_aside(&dir.path().join("another")).unwrap().len(), 0);
    }

    /// A crash after each of the three renames: the next start completes the move.
    #[test]
    fn a_move_that_was_cut_short_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let moved = dir.path().join("db.corrupt-20261122T120000Z");
        fs::write(&moved, "database").unwrap();
        fs::write(beside(&path, "-wal"), "wal").unwrap();
        fs::write(beside(&path, "-shm"), "shm").unwrap();
        let later = noon() + jiff::SignedDuration::from_secs(60);
        assert_eq!(move_orphan(&path, later).unwrap(), Some(beside(&moved, "-wal")));
        assert_eq!(fs::read_to_string(beside(&moved, "-wal")).unwrap(), "wal");
        assert_eq!(move_orphan(&path, later).unwrap(), None, "nothing is left to do");
        // A WAL whose database was deleted gets a name of its own.
        fs::write(&path, "").unwrap();
        fs::write(beside(&path, "-wal"), "another").unwrap();
        let orphan = move_orphan(&path, later).unwrap().unwrap();
        assert_eq!(orphan, dir.path().join("db.corrupt-20261122T120100Z-wal"));
        // One that has its database stays.
        fs::write(&path, "database").unwrap();
        fs::write(beside(&path, "-wal"), "wal").unwrap();
        assert_eq!(move_orphan(&path, later).unwrap(), None);
    }
}
