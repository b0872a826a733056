//! Room kept in reserve: a file that is given up when the volume is really full.
//!
//! A full volume cannot even delete: a deletion is a transaction, a transaction is written to the
//! WAL, and a WAL that cannot be copied into the database never ends. Giving up the file makes
//! room for all three, and for the last sums at shutdown.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Name of the file within the ledger's directory.
pub const BALLAST: &str = "ballast";

/// Written at once where a file system cannot allocate without writing.
const ZEROS_BYTES: usize = 64 * 1024;

/// Unit of `st_blocks`, whatever the file system's own is (stat(2)).
const BLOCK_BYTES: u64 = 512;

const FILE_MODE: u32 = 0o600;

/// The file, there or not.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Ballast {
    /// The ballast of a directory, which a dead process may have left there.
    pub(super) fn of(dir: &Path, bytes: u64) -> Ballast {
        let path = dir.join(BALLAST);
        let held = path.is_file();
        Ballast { path, bytes, held }
    }

    /// Room is kept.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Allocates the room; all of it or, after an error, nothing.
    pub(super) fn make(&mut self) -> io::Result<()> {
        let made = self.allocate();
        self.held = made.is_ok();
        if made.is_err() {
            self.remove();
        }
        made
    }

    /// Gives the room up. Returns whether there was any.
    pub(super) fn release(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        if held {
            self.remove();
        }
        held
    }

    fn allocate(&self) -> io::Result<()> {
        let open =
            OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&self.path);
        let mut file = open?;
        file.set_len(self.bytes)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
                if file.metadata()?.blocks() * BLOCK_BYTES < self.bytes =>
            {
                fill(&mut file, self.bytes)
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            other => Ok(other?),
        }
    }

    fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the ballast cannot be removed");
                // Cutting it short frees the same room.
                let cut = OpenOptions::new().write(true).truncate(true).open(&self.path);
                drop(cut);
            }
        }
    }
}

fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = [0; ZEROS_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_really_allocated_and_really_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::of(dir.path(), 1 << 20);
        assert!(!ballast.held() && !ballast.release());
        ballast.make().unwrap();
        let file = std::fs::metadata(dir.path().join(BALLAST)).unwrap();
        assert!(file.blocks() * BLOCK_BYTES >= 1 << 20, "{} blocks", file.blocks());
        // The next process finds it, and may want another size.
        let mut ballast = Ballast::of(dir.path(), 1 << 16);
        assert!(ballast.held());
        ballast.make().unwrap();
        assert_eq!(std::fs::metadata(dir.path().join(BALLAST)).unwrap().len(), 1 << 16);
        assert!(ballast.release() && !ballast.held());
        assert!(!dir.path().join(BALLAST).exists());
    }

    #[test]
    fn zeros_stand_in_where_nothing_can_be_allocated() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("zeros")).unwrap();
        fill(&mut file, 100_001).unwrap();
        let file = std::fs::metadata(dir.path().join("zeros")).unwrap();
        assert_eq!(file.len(), 100_001);
        assert!(file.blocks() * BLOCK_BYTES >= 100_001);
    }

    #[test]
    fn what_cannot_be_made_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::of(&dir.path().join("absent"), 1);
        ballast.make().unwrap_err();
        assert!(!ballast.held());
    }
}
