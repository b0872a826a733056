//! A folder that is there as a whole or not at all: written beside its place, and moved there once it is complete and on
//! disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

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
}

impl NewFolder {
    /// Begins beside `target`.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn begin(target: &Path) -> io::Result<NewFolder> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = parent_of(target).join(format!(".{name}.{}", Uuid::new_v4()));
        fs::create_dir_all(parent_of(target))?;
        fs::create_dir(&path)?;
        Ok(NewFolder { path, target: target.to_owned(), files: Vec::new(), is_done: false })
    }

    /// Writes a file; `name` is one of ours, with `/` between folders.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        fs::create_dir_all(parent_of(&path))?;
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        let (name, bytes) = (name.to_owned(), content.len() as u64);
        self.files.push(WrittenFile { name, bytes, sha256: sha256(content) });
        Ok(())
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
            // What is left of it helps nobody, and its name says what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The SHA-256 of bytes in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parent_of(path: &Path) -> &Path {
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
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), digest);
    }
}
