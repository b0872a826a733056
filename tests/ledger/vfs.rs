//! A SQLite VFS that brings every operation on a file to `disk` first.
//!
//! It wraps the VFS of the system, so files, locks and shared memory are real ones.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use rusqlite::ffi;

use crate::disk::{Change, Kind, Op, Rig, SECTOR};
use crate::syncs::within_sqlite;

/// An open file: ours first, the wrapped one right behind it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    watched: *mut Watched,
}

struct Watched {
    rig: Arc<Rig>,
    path: PathBuf,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 2: shared memory, but no memory-mapped reads.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes this the default VFS of the process.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the VFS of the system lives as long as the process. The copy is leaked, so it
        // does too. Its other methods do not look at the VFS that they are called with.
        unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            assert!(!real.is_null());
            let mut ours = *real;
            ours.zName = c"tokenweir-test".as_ptr();
            ours.pNext = std::ptr::null_mut();
            ours.szOsFile = size_of::<File>() as c_int + (*real).szOsFile;
            ours.pAppData = real.cast();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1), ffi::SQLITE_OK);
        }
    });
}

/// The VFS that is wrapped.
///
/// # Safety
/// `vfs` is the one made by [`register`].
unsafe fn wrapped_vfs(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: `register` put the wrapped VFS there.
    unsafe { (*vfs).pAppData.cast() }
}

/// The file that is wrapped, and its methods.
///
/// # Safety
/// `file` was opened by [`open`].
unsafe fn wrapped(
    file: *mut ffi::sqlite3_file,
) -> (*mut ffi::sqlite3_file, &'static ffi::sqlite3_io_methods) {
    // SAFETY: SQLite allocates `szOsFile` bytes: ours, then those of the wrapped file, whose
    // methods are static.
    unsafe {
        let real: *mut ffi::sqlite3_file = file.cast::<File>().add(1).cast();
        (real, &*(*real).pMethods)
    }
}

/// What is watched of a file.
///
/// # Safety
/// `file` was opened by [`open`] and not closed yet.
unsafe fn watched<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Watched> {
    // SAFETY: `open` put a leaked box there, or null; `close` takes it back.
    unsafe { (*file.cast::<File>()).watched.as_ref() }
}

fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite gives a string that ends with a zero.
    let name = unsafe { CStr::from_ptr(name) };
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    // The directory may be given by another name.
    let dir = path.parent()?.canonicalize().ok()?;
    Some(dir.join(path.file_name()?))
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let path = path_of(name);
    let rig = path.as_deref().and_then(Rig::of);
    let before = path.as_deref().filter(|_| rig.is_some()).and_then(|path| fs::read(path).ok());
    // SAFETY: the arguments are SQLite's own; `file` has room for both files, see `wrapped`.
    unsafe {
        let real_vfs = wrapped_vfs(vfs);
        let ours: *mut File = file.cast();
        let real: *mut ffi::sqlite3_file = ours.add(1).cast();
        (*ours).watched = std::ptr::null_mut();
        (*real).pMethods = std::ptr::null();
        let result = (*real_vfs).xOpen.expect("a VFS opens")(real_vfs, name, real, flags, out_flags);
        // SQLite closes a file that has methods, even if it could not be opened.
        (*ours).base.pMethods = if (*real).pMethods.is_null() { std::ptr::null() } else { &METHODS };
        if let (ffi::SQLITE_OK, Some(path), Some(rig)) = (result, path, rig) {
            rig.opened(&path, before);
            (*ours).watched = Box::into_raw(Box::new(Watched { rig, path }));
        }
        result
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    let path = path_of(name);
    let rig = path.as_deref().and_then(Rig::of);
    if let (Some(path), Some(rig)) = (&path, &rig)
        && rig.count(Op::Delete, path, |_| ()).is_some()
    {
        return ffi::SQLITE_IOERR_DELETE;
    }
    // SAFETY: the arguments are SQLite's own.
    let result = unsafe {
        let real_vfs = wrapped_vfs(vfs);
        within_sqlite(|| (*real_vfs).xDelete.expect("a VFS deletes")(real_vfs, name, sync_dir))
    };
    if let (ffi::SQLITE_OK, Some(path), Some(rig)) = (result, path, rig) {
        rig.deleted(&path, sync_dir != 0);
    }
    result
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once; the box came from `open`.
    unsafe {
        let ours: *mut File = file.cast();
        if !(*ours).watched.is_null() {
            drop(Box::from_raw((*ours).watched));
            (*ours).watched = std::ptr::null_mut();
        }
        let (real, methods) = wrapped(file);
        methods.xClose.expect("a file closes")(real)
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: an open file, and SQLite's own arguments.
    unsafe {
        if watched(file).is_some_and(|watched| !watched.rig.read(count as usize)) {
            return ffi::SQLITE_IOERR_READ;
        }
        let (real, methods) = wrapped(file);
        methods.xRead.expect("a file reads")(real, to, count, at)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: i64,
) -> c_int {
    // SAFETY: an open file, and SQLite's own arguments: `from` has `count` bytes.
    unsafe {
        let (real, methods) = wrapped(file);
        let write = methods.xWrite.expect("a file writes");
        let Some(watched) = watched(file) else { return write(real, from, count, at) };
        let bytes = std::slice::from_raw_parts(from.cast::<u8>(), count as usize);
        let part = |sectors: usize| (sectors * SECTOR).min(count as usize) as c_int;
        let fault = watched.rig.count(Op::Write, &watched.path, |random| {
            write(real, from, part(random.below(count as usize / SECTOR + 2)), at);
        });
        match fault {
            None => {
                let result = write(real, from, count, at);
                if result == ffi::SQLITE_OK {
                    let change = Change::Write(at as usize, bytes.to_vec());
                    watched.rig.changed(&watched.path, change);
                }
                result
            }
            Some(Kind::Full) => {
                let fits = part(count as usize / SECTOR / 2);
                if write(real, from, fits, at) == ffi::SQLITE_OK {
                    let change = Change::Write(at as usize, bytes[..fits as usize].to_vec());
                    watched.rig.changed(&watched.path, change);
                }
                ffi::SQLITE_FULL
            }
            Some(_) => ffi::SQLITE_IOERR_WRITE,
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    // SAFETY: an open file, and SQLite's own arguments.
    unsafe {
        let (real, methods) = wrapped(file);
        let truncate = methods.xTruncate.expect("a file truncates");
        let Some(watched) = watched(file) else { return truncate(real, length) };
        if watched.rig.count(Op::Truncate, &watched.path, |_| ()).is_some() {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        let result = truncate(real, length);
        if result == ffi::SQLITE_OK {
            watched.rig.changed(&watched.path, Change::Truncate(length as usize));
        }
        result
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: an open file, and SQLite's own arguments.
    unsafe {
        let (real, methods) = wrapped(file);
        let sync = methods.xSync.expect("a file syncs");
        let Some(watched) = watched(file) else { return within_sqlite(|| sync(real, flags)) };
        let done = || within_sqlite(|| sync(real, flags)) == ffi::SQLITE_OK;
        if watched.rig.sync(&watched.path, true, done) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_FSYNC }
    }
}

/// A method that only passes on.
macro_rules! pass {
    ($name:ident, $method:ident, ($($arg:ident: $type:ty),*) $(-> $result:ty)?) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $arg: $type)*) $(-> $result)? {
            // SAFETY: an open file, and SQLite's own arguments.
            unsafe {
                let (real, methods) = wrapped(file);
                methods.$method.expect("the system's VFS has it")(real $(, $arg)*)
            }
        }
    };
}

pass!(file_size, xFileSize, (size: *mut i64) -> c_int);
pass!(lock, xLock, (level: c_int) -> c_int);
pass!(unlock, xUnlock, (level: c_int) -> c_int);
pass!(check_reserved_lock, xCheckReservedLock, (out: *mut c_int) -> c_int);
pass!(file_control, xFileControl, (op: c_int, arg: *mut c_void) -> c_int);
pass!(sector_size, xSectorSize, () -> c_int);
pass!(device_characteristics, xDeviceCharacteristics, () -> c_int);
pass!(shm_map, xShmMap, (page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int);
pass!(shm_lock, xShmLock, (offset: c_int, n: c_int, flags: c_int) -> c_int);
pass!(shm_barrier, xShmBarrier, ());
pass!(shm_unmap, xShmUnmap, (delete: c_int) -> c_int);
