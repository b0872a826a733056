//! A folder that is there as a whole or not at all: written beside its place, and moved there once it is complete and on
//! disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::sha256::sha256;
use super::unfinished::{self, UnfinishedName};

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenFile {
    /// Its name, with `/` between folders.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// In hex, as `sha256sum` prints it.
    pub(super) sha256: String,
}

/// A folder that is being written.
#[derive(Debug)]
pub(super) struct NewFolder {
    /// Where it is written.
    path: PathBuf,
    /// Where it will be.
    target: PathBuf,
    pub(super) files: Vec<WrittenFile>,
    is_done: bool,
    /// It is held as long as the folder is written, where the file system knows locks.
    _lock: Option<File>,
}

impl NewFolder {
    /// Begins beside `target`.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn begin(target: &Path) -> io::Result<NewFolder> {
        let (parent, name) = (parent_of(target), UnfinishedName::new(target));
        fs::create_dir_all(parent)?;
        fs::create_dir(parent.join(name.text()))?;
        let (path, lock) = unfinished::lock(parent, name)?;
        Ok(NewFolder { path, target: target.to_owned(), files: Vec::new(), is_done: false, _lock: lock })
    }

    /// Writes a file; `name` is one of ours, with `/` between folders.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.make(folder)?;
        }
        let mut file = File::options().write(true).create_new(true).open(self.path.join(name))?;
        file.write_all(content)?;
        file.sync_all()?;
        let (name, bytes) = (name.to_owned(), content.len() as u64);
        self.files.push(WrittenFile { name, bytes, sha256: sha256(content) });
        Ok(())
    }

    /// Makes a folder in it. The folder itself is never made again: whoever has moved it aside took its writer for dead.
    fn make(&self, folder: &str) -> io::Result<()> {
        match fs::create_dir(self.path.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Moves it to its place, where nothing may be but an empty folder.
    ///
    /// # Errors
    /// If something is there, or the disk fails.
    pub(super) fn finish(mut self) -> io::Result<()> {
        for folder in self.files.iter().filter_map(|file| Some(file.name.rsplit_once('/')?.0)) {
            sync(&self.path.join(folder))?;
        }
        sync(&self.path)?;
        fs::rename(&self.path, &self.target)?;
        self.is_done = true;
        sync(parent_of(&self.target))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.is_done {
            // The rest of it helps nobody, and its name says what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The folder that a path lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("november");
        let mut folder = NewFolder::begin(&target).unwrap();
        folder.write("a/b.txt", b"x").unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut folder = NewFolder::begin(&target).unwrap();
        folder.write("a/b.txt", b"x").unwrap();
        assert!(folder.write("a/b.txt", b"y").is_err(), "no file is written twice");
        folder.finish().unwrap();
        assert_eq!(fs::read(target.join("a/b.txt")).unwrap(), b"x");
        assert!(NewFolder::begin(&target).unwrap().finish().is_err(), "what is there stays");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Somebody has taken the writer for dead: then nothing is published, and never a part of it.
    #[test]
    fn a_folder_that_was_moved_aside_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("november");
        let mut folder = NewFolder::begin(&target).unwrap();
        folder.write("a/b.txt", b"x").unwrap();
        fs::rename(&folder.path, dir.path().join("aside")).unwrap();
        assert!(folder.write("a/c.txt", b"x").is_err() && folder.write("d.txt", b"x").is_err());
        assert!(folder.finish().is_err() && !target.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
