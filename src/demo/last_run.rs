//! The folder of the last run: ledgers, price list, rates and caller map, at one place in the temporary folder, so
//! that there is never more than one of them and its path can be told.
//!
//! Others may write to the temporary folder too. So the folder is used only if it is a folder (no link), ours, and
//! closed to everybody else; and one demo at a time holds its lock.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::ledger::BALLAST;

/// Everybody but its owner is kept out.
const FOLDER_MODE: u32 = 0o700;

const FILE_MODE: u32 = 0o600;

/// Permissions of a group and of others.
const MODE_OF_OTHERS: u32 = 0o077;

/// The file whose lock a running demo holds.
const LOCK: &str = "lock";

/// The files that the bill is made with, by their names.
const FILES: [(&str, &str); 3] = [
    ("prices.csv", include_str!("../../fixtures/demo/prices.csv")),
    ("rates.csv", include_str!("../../fixtures/demo/rates.csv")),
    ("callers.csv", include_str!("../../fixtures/demo/callers.csv")),
];

/// The folder, which this demo holds. When it lets go, the ledgers stay, without the room that they keep in reserve.
#[derive(Debug)]
pub(super) struct LastRunFolder {
    dir: PathBuf,
    /// Held as long as the file is open.
    _lock: File,
}

impl LastRunFolder {
    /// Takes the place of this user in the temporary folder. What the last run left there goes.
    ///
    /// # Errors
    /// The place is not ours alone, another demo runs there, or it cannot be written.
    pub(super) fn take() -> anyhow::Result<LastRunFolder> {
        LastRunFolder::take_at(&std::env::temp_dir().join(format!("tokenweir-demo-{}", user())))
    }

    pub(super) fn take_at(dir: &Path) -> anyhow::Result<LastRunFolder> {
        let shown = dir.display();
        let made = DirBuilder::new().mode(FOLDER_MODE).create(dir);
        if made.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
            made.with_context(|| shown.to_string())?;
        }
        only_of(dir, user())?;
        let open =
            File::options().write(true).create(true).truncate(false).mode(FILE_MODE).open(dir.join(LOCK));
        let lock = open.with_context(|| shown.to_string())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another demo of yours runs in {shown}; wait for its end, or set TMPDIR")
            }
            Err(TryLockError::Error(error)) => return Err(error).context(shown.to_string()),
        }
        clear(dir).with_context(|| shown.to_string())?;
        for (name, text) in FILES {
            fs::write(dir.join(name), text).with_context(|| shown.to_string())?;
        }
        Ok(LastRunFolder { dir: dir.to_owned(), _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The ledgers of both sidecars.
    pub(super) fn ledgers(&self) -> [PathBuf; 2] {
        ["ledger-1", "ledger-2"].map(|name| self.dir.join(name))
    }

    pub(super) fn prices(&self) -> PathBuf {
        self.dir.join(FILES[0].0)
    }

    pub(super) fn rates(&self) -> PathBuf {
        self.dir.join(FILES[1].0)
    }

    pub(super) fn caller_map(&self) -> PathBuf {
        self.dir.join(FILES[2].0)
    }
}

impl Drop for LastRunFolder {
    fn drop(&mut self) {
        for ledger in self.ledgers() {
            // A sidecar that stopped in order gave it up; one that was killed did not.
            let _ = fs::remove_file(ledger.join(BALLAST));
        }
    }
}

/// Whose process this is.
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// That nobody else can have put anything there, or will.
fn only_of(dir: &Path, user: u32) -> anyhow::Result<()> {
    let found = dir.symlink_metadata().with_context(|| dir.display().to_string())?;
    let advice = "remove it, or set TMPDIR to a folder of your own";
    let shown = dir.display();
    ensure!(found.is_dir(), "{shown} is no folder: {advice}");
    ensure!(found.uid() == user, "{shown} belongs to another user: {advice}");
    ensure!(found.mode() & MODE_OF_OTHERS == 0, "{shown} is open to other users: {advice}");
    Ok(())
}

/// Removes everything but the lock. A link goes, what it leads to stays.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refusal(dir: &Path) -> String {
        LastRunFolder::take_at(dir).unwrap_err().to_string()
    }

    #[test]
    fn the_previous_run_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("demo");
        let outside = temporary.path().join("outside");
        fs::write(&outside, "stays").unwrap();
        let first = LastRunFolder::take_at(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, FOLDER_MODE);
        let [ledger, _] = first.ledgers();
        fs::create_dir(&ledger).unwrap();
        for name in [BALLAST, "events.sqlite"] {
            fs::write(ledger.join(name), "x").unwrap();
        }
        symlink(&outside, dir.join("link")).unwrap();
        drop(first);
        assert!(!ledger.join(BALLAST).exists() && ledger.join("events.sqlite").exists());
        let second = LastRunFolder::take_at(&dir).unwrap();
        assert!(!ledger.exists() && !dir.join("link").exists() && outside.exists());
        assert!(second.prices().is_file() && second.rates().is_file() && second.caller_map().is_file());
    }

    #[test]
    fn one_demo_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("demo");
        let running = LastRunFolder::take_at(&dir).unwrap();
        fs::create_dir(&running.ledgers()[0]).unwrap();
        assert!(refusal(&dir).contains("another demo"));
        assert!(running.ledgers()[0].exists(), "its ledgers are left alone");
    }

    #[test]
    fn what_others_have_planted_is_not_used() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        fs::create_dir(at("theirs")).unwrap();
        fs::write(at("theirs").join("kept"), "x").unwrap();
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink(at("theirs"), at("link")).unwrap();
        assert!(refusal(&at("link")).contains("is no folder"));
        assert!(only_of(&at("theirs"), user() + 1).unwrap_err().to_string().contains("another user"));
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(refusal(&at("theirs")).contains("open to other users"));
        fs::write(at("file"), "x").unwrap();
        assert!(refusal(&at("file")).contains("is no folder"));
        assert!(at("theirs").join("kept").exists(), "nothing of it went");
    }
}
