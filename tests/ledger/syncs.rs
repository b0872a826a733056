//! Every sync that this process asks for, whoever asks: the symbols of the C library stand here, so that syncs of
//! files and directories that do not go through SQLite are brought to `disk` too.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::disk::Rig;

thread_local! {
    static WITHIN_SQLITE: Cell<bool> = const { Cell::new(false) };
}

/// Directories that were synced, but for those that SQLite has synced.
static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Runs what belongs to one sync of SQLite's, which `vfs` has brought to `disk`.
pub(crate) fn within_sqlite<T>(sync: impl FnOnce() -> T) -> T {
    WITHIN_SQLITE.set(true);
    let result = sync();
    WITHIN_SQLITE.set(false);
    result
}

/// Whether a directory was synced, not by SQLite, since the last time that this was asked.
pub(crate) fn directory_was_synced(dir: &Path) -> bool {
    let dir = dir.canonicalize().expect("a directory");
    let mut synced = DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner);
    let before = synced.len();
    synced.retain(|other| *other != dir);
    synced.len() < before
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn sync(fd: c_int, call: c_long) -> c_int {
    // SAFETY: both calls take any number and answer with an error if it is no descriptor.
    let real = || unsafe { libc::syscall(call, fd) } as c_int;
    let path = fs::read_link(format!("/proc/self/fd/{fd}")).ok().filter(|path| path.exists());
    let Some(path) = path.filter(|_| !WITHIN_SQLITE.get()) else { return real() };
    if path.is_dir() {
        let result = real();
        if result == 0 {
            Rig::directory_synced(&path);
            DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
        return result;
    }
    let Some(rig) = Rig::of(&path) else { return real() };
    if rig.sync(&path, false, || real() == 0) {
        return 0;
    }
    // SAFETY: the C library gives this thread's own.
    unsafe { *libc::__errno_location() = libc::EIO };
    -1
}
