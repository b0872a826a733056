//! Folders that are still written, or that a close left when it died, and how the two are told apart.
//!
//! Whoever writes a folder holds a lock on it, and the name says which mount of which running system shows that lock.
//! There, a lock that can be taken means that the writer is dead. Seen from elsewhere a lock means nothing, and a folder
//! counts as left once nothing in it was written for a day. Should its writer live all the same, it fails and publishes
//! nothing: a folder is moved aside as a whole before anything in it is removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::sha256::sha256;

/// Where Linux names this start of this machine; containers of a machine share it, as they share locks.
const SYSTEM: &str = "/proc/sys/kernel/random/boot_id";

/// Hex digits that stand for a mount of a system: of two that share a folder they are the same once in 2^48.
const MOUNT_DIGITS: usize = 12;

/// The end of the name of a folder that is being removed.
const ASIDE: &str = "removed";

/// A close writes several files a second, so a folder that was silent for so long has no writer.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a folder that is not finished: `.TARGET.ID`, `.TARGET.ID.MOUNT` or `.TARGET.ID.removed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnfinishedName {
    /// The name that it will have.
    pub(super) target: String,
    id: Uuid,
    state: UnfinishedState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UnfinishedState {
    /// No lock on it can be relied on.
    Unlocked,
    /// Its writer holds a lock that this mount shows.
    LockedOn(String),
    /// It is being removed.
    Aside,
}

impl UnfinishedName {
    pub(super) fn new(target: &Path) -> UnfinishedName {
        let target = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        UnfinishedName { target, id: Uuid::new_v4(), state: UnfinishedState::Unlocked }
    }

    /// Reads a name; `None`: it is not of this kind.
    fn read(name: &str) -> Option<UnfinishedName> {
        let is_mount = |end: &str| end.len() == MOUNT_DIGITS && end.bytes().all(|b| b.is_ascii_hexdigit());
        let name = name.strip_prefix('.')?;
        let (rest, state) = match name.rsplit_once('.')? {
            (rest, ASIDE) => (rest, UnfinishedState::Aside),
            (rest, mount) if is_mount(mount) => (rest, UnfinishedState::LockedOn(mount.to_owned())),
            _ => (name, UnfinishedState::Unlocked),
        };
        let (target, text) = rest.rsplit_once('.')?;
        let id = Uuid::parse_str(text).ok().filter(|id| id.to_string() == text)?;
        Some(UnfinishedName { target: target.to_owned(), id, state })
    }

    pub(super) fn text(&self) -> String {
        let UnfinishedName { target, id, state } = self;
        match state {
            UnfinishedState::Unlocked => format!(".{target}.{id}"),
            UnfinishedState::LockedOn(mount) => format!(".{target}.{id}.{mount}"),
            UnfinishedState::Aside => format!(".{target}.{id}.{ASIDE}"),
        }
    }
}

/// Locks a folder that was just made, and says so in its name. Returns where it is now, and the lock; without one, where
/// the file system knows none, it stays as it is.
///
/// # Errors
/// If it cannot be opened or moved.
pub(super) fn lock(parent: &Path, mut name: UnfinishedName) -> io::Result<(PathBuf, Option<File>)> {
    let path = parent.join(name.text());
    let file = File::open(&path)?;
    let Some(mount) = mount_of(&file).filter(|_| file.try_lock().is_ok()) else { return Ok((path, None)) };
    name.state = UnfinishedState::LockedOn(mount);
    let locked = parent.join(name.text());
    fs::rename(&path, &locked)?;
    Ok((locked, Some(file)))
}

/// Removes from a folder what dead writers left of the targets that are meant. A folder that cannot be removed harms nobody,
/// and is told in the log.
pub(super) fn remove_left(parent: &Path, is_meant: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = UnfinishedName::read(&entry.file_name().to_string_lossy());
        let Some(name) = name.filter(|name| is_meant(&name.target)) else { continue };
        // A link is none of ours, whatever its name.
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Err(error) = remove_if_left(parent, name)
        {
            let folder = entry.path();
            tracing::warn!(%error, folder = %folder.display(), "what a close left there cannot be removed");
        }
    }
}

fn remove_if_left(parent: &Path, mut name: UnfinishedName) -> io::Result<()> {
    let path = parent.join(name.text());
    match remove_dead(parent, &path, &mut name) {
        // It was finished meanwhile, or somebody else has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn remove_dead(parent: &Path, path: &Path, name: &mut UnfinishedName) -> io::Result<()> {
    let file = File::open(path)?;
    let is_dead = match &name.state {
        UnfinishedState::Aside => true,
        UnfinishedState::LockedOn(mount) if mount_of(&file).as_ref() == Some(mount) => {
            file.try_lock().is_ok()
        }
        UnfinishedState::LockedOn(_) | UnfinishedState::Unlocked => is_silent(parent, path, &name.target)?,
    };
    if !is_dead {
        return Ok(());
    }
    name.state = UnfinishedState::Aside;
    let aside = parent.join(name.text());
    fs::rename(path, &aside)?;
    fs::remove_dir_all(&aside)
}

/// Stands for the mount that an open folder lies on, and the running system: both see each other's locks if it is the same.
fn mount_of(file: &File) -> Option<String> {
    let (system, device) = (fs::read_to_string(SYSTEM).ok()?, file.metadata().ok()?.dev());
    sha256(format!("{} {device}", system.trim()).as_bytes()).get(..MOUNT_DIGITS).map(str::to_owned)
}

/// Nothing in the folder was written for long.
fn is_silent(parent: &Path, path: &Path, target: &str) -> io::Result<bool> {
    let newest = newest(path)?;
    let now = clock(parent, target)?;
    Ok(now.duration_since(newest).is_ok_and(|silent| silent > SILENCE))
}

/// When the newest of a folder and all in it was written.
fn newest(path: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::symlink_metadata(path)?.modified()?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        newest = newest.max(if is_folder {
            self::newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        });
    }
    Ok(newest)
}

/// The time by the clock of the volume, which need not be that of this system.
fn clock(parent: &Path, target: &str) -> io::Result<SystemTime> {
    let probe = parent.join(UnfinishedName::new(Path::new(target)).text());
    fs::create_dir(&probe)?;
    let now = fs::symlink_metadata(&probe).and_then(|made| made.modified());
    fs::remove_dir(&probe)?;
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder beside `november` as a writer leaves it that is killed: its lock is gone with it.
    fn left(parent: &Path, name: UnfinishedName) -> PathBuf {
        let path = parent.join(name.text());
        fs::create_dir_all(path.join("statements")).unwrap();
        fs::write(path.join("statements/a.csv"), "x").unwrap();
        path
    }

    fn on_mount(parent: &Path, mount: Option<&str>) -> UnfinishedName {
        let here = mount_of(&File::open(parent).unwrap()).unwrap();
        let state = UnfinishedState::LockedOn(mount.map_or(here, str::to_owned));
        UnfinishedName { state, ..UnfinishedName::new(Path::new("november")) }
    }

    /// As if nothing of it had been written for so long, by the clock of the volume.
    fn age(path: &Path, age: Duration) {
        let then = fs::metadata(path).unwrap().modified().unwrap() - age;
        for path in [path.join("statements/a.csv"), path.join("statements"), path.to_owned()] {
            File::open(path).unwrap().set_modified(then).unwrap();
        }
    }

    fn remove(parent: &Path) {
        remove_left(parent, |target| target == "november");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let state = [
            UnfinishedState::Unlocked,
            UnfinishedState::LockedOn("0123456789ab".to_owned()),
            UnfinishedState::Aside,
        ];
        for (state, target) in state.into_iter().zip(["november", "a.b", ""]) {
            let name = UnfinishedName { target: target.to_owned(), id: Uuid::new_v4(), state };
            assert_eq!(UnfinishedName::read(&name.text()).as_ref(), Some(&name));
        }
        for other in ["november", ".november", ".november.removed", ".november.0123456789ab", "..", ".a.b.c"]
        {
            assert_eq!(UnfinishedName::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_writer_of_this_system_left_goes_and_what_a_living_one_writes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dead = left(dir.path(), on_mount(dir.path(), None));
        let new = UnfinishedName::new(Path::new("november"));
        left(dir.path(), new.clone());
        let (alive, lock) = lock(dir.path(), new).unwrap();
        age(&alive, SILENCE * 2);
        remove(dir.path());
        assert!(!dead.exists() && alive.join("statements/a.csv").exists());
        drop(lock);
        remove(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// From here nobody can tell whether its writer lives, but for how long it has been silent.
    #[test]
    fn what_another_system_writes_goes_only_after_a_day_without_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let unlocked = left(dir.path(), UnfinishedName::new(Path::new("november")));
        let elsewhere = left(dir.path(), on_mount(dir.path(), Some("0123456789ab")));
        remove(dir.path());
        assert!(unlocked.exists() && elsewhere.exists());
        age(&unlocked, SILENCE + Duration::from_secs(60));
        age(&elsewhere, SILENCE + Duration::from_secs(60));
        // One file that is still written is enough.
        fs::write(elsewhere.join("statements/a.csv"), "y").unwrap();
        remove(dir.path());
        assert!(!unlocked.exists() && elsewhere.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the look at the clock leaves nothing");
    }

    #[test]
    fn nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let others =
            [".november".to_owned(), format!(".october.{id}.removed"), format!("november.{id}.removed")];
        for other in &others {
            fs::create_dir(dir.path().join(other)).unwrap();
        }
        let aside = format!(".november.{id}.removed");
        std::os::unix::fs::symlink(dir.path().join(&others[0]), dir.path().join(&aside)).unwrap();
        remove(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 1);
        fs::remove_file(dir.path().join(&aside)).unwrap();
        fs::create_dir_all(dir.path().join(&aside).join("statements")).unwrap();
        remove(dir.path());
        assert!(!dir.path().join(&aside).exists(), "its removal goes on");
    }
}
