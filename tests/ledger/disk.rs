//! A disk that breaks on purpose, and what it still holds afterwards.
//!
//! Every operation that changes a file is numbered: write, sync, truncate, delete. At a given number
//! it fails, waits, kills the process, or takes the power away. `vfs` brings SQLite here, `syncs` all
//! else that asks for a sync.
//!
//! For the loss of power a second account is kept of each file: the bytes at its last successful
//! sync, and the changes since that sync began. What survives is the former and a random part of the
//! latter, torn at 512 bytes. A sync that fails leaves its changes in the cache and never on the disk, as Linux
//! does: a later sync that succeeds does not bring them back. A name that is made or deleted
//! survives at random until the directory is synced, which SQLite's VFS does with the first sync of
//! a new journal or WAL, and with a delete if told so.
//!
//! Only what lies in a directory with a [`Rig`] is watched; all else passes through.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::random::Random;
use crate::vfs;

/// What a disk writes whole.
pub(crate) const SECTOR: usize = 512;

/// Exit code of a process that was killed or lost power here.
pub(crate) const CRASHED: i32 = 77;

/// An operation that changes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Write,
    Sync,
    Truncate,
    Delete,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The disk is full; of a write, half of its sectors fit.
    Full,
    /// An I/O error; what a failed sync should have kept is lost for good.
    Error,
    /// It takes this long.
    Delay(Duration),
    /// The process dies; what it wrote stays in the cache. The seed says how much of a write.
    Kill(u64),
    /// The power goes; the seed says what survives.
    PowerLoss(u64),
}

/// Something that goes wrong, from operation `from` on, `times` times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) from: u64,
    pub(crate) times: u64,
    /// Only in these operations; in every one if `None`.
    pub(crate) op: Option<Op>,
    /// Only in files whose name ends so.
    pub(crate) file: &'static str,
    pub(crate) kind: Kind,
}

/// A change that no sync has covered yet.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// What the disk holds of a file.
#[derive(Debug, Default)]
struct Shadow {
    /// The file is there, for the process.
    exists: bool,
    /// Its name survives a loss of power.
    linked: bool,
    durable: Vec<u8>,
    pending: VecDeque<Change>,
    /// Changes before those.
    passed: u64,
    /// A file of this name was deleted, and the directory not synced since.
    ghost: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    ops: u64,
    syncs: u64,
    read_bytes: u64,
    reads_fail: bool,
    faults: Vec<Fault>,
    files: BTreeMap<PathBuf, Shadow>,
}

/// A directory whose files are watched.
#[derive(Debug)]
pub(crate) struct Rig {
    dir: PathBuf,
    state: Mutex<State>,
}

static RIGS: Mutex<Vec<Arc<Rig>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rig {
    /// Watches a directory from now on. Its ledger must not be open.
    pub(crate) fn new(dir: &Path) -> Arc<Rig> {
        vfs::register();
        let dir = dir.canonicalize().expect("a directory");
        let rig = Arc::new(Rig { dir, state: Mutex::default() });
        locked(&RIGS).push(Arc::clone(&rig));
        rig
    }

    /// From here on, these things go wrong and no others.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        locked(&self.state).faults = faults.to_vec();
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        self.fail(&[]);
    }

    /// From here on, every read fails, or none.
    pub(crate) fn fail_reads(&self, fail: bool) {
        locked(&self.state).reads_fail = fail;
    }

    /// Syncs so far that succeeded.
    pub(crate) fn syncs(&self) -> u64 {
        locked(&self.state).syncs
    }

    /// Bytes read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        locked(&self.state).read_bytes
    }

    /// Writes into the directory `to` what survives if the power goes now.
    pub(crate) fn survivors(&self, seed: u64, to: &Path) {
        locked(&self.state).survive(seed, to);
    }

    /// The rig that watches a file.
    pub(crate) fn of(path: &Path) -> Option<Arc<Rig>> {
        locked(&RIGS).iter().rev().find(|rig| path.parent() == Some(&rig.dir)).map(Arc::clone)
    }

    // What the VFS tells.

    /// Bytes are read. Returns whether they can be.
    pub(crate) fn read(&self, count: usize) -> bool {
        let mut state = locked(&self.state);
        state.read_bytes += count as u64;
        !state.reads_fail
    }

    /// A change is in the cache.
    pub(crate) fn changed(&self, path: &Path, change: Change) {
        locked(&self.state).shadow(path).pending.push_back(change);
    }

    /// A sync is asked for; `names`: SQLite asks, and syncs the directory with it if the file is new. Returns
    /// whether it succeeds. One that fails leaves its changes in the cache, and the disk has none of them.
    pub(crate) fn sync(&self, path: &Path, names: bool, real: impl FnOnce() -> bool) -> bool {
        // A sync does not cover the changes that come while it runs.
        let up_to = locked(&self.state).shadow(path).changes();
        let synced = self.count(Op::Sync, path, |_| ()).is_none() && real();
        let mut state = locked(&self.state);
        let covered = state.shadow(path).take_up_to(up_to);
        if synced {
            state.synced(path, covered, names);
        }
        synced
    }

    /// The names in a directory are durable.
    pub(crate) fn directory_synced(dir: &Path) {
        for rig in locked(&RIGS).iter().filter(|rig| rig.dir == dir) {
            locked(&rig.state).dir_synced();
        }
    }

    /// See [`State::opened`].
    pub(crate) fn opened(&self, path: &Path, before: Option<Vec<u8>>) {
        locked(&self.state).opened(path, before);
    }

    /// A name is gone.
    pub(crate) fn deleted(&self, path: &Path, sync_dir: bool) {
        locked(&self.state).deleted(path, sync_dir);
    }

    /// Numbers an operation. Returns what goes wrong with it, if it returns at all.
    pub(crate) fn count(&self, op: Op, path: &Path, torn: impl FnOnce(&mut Random)) -> Option<Kind> {
        let mut state = locked(&self.state);
        state.ops += 1;
        let number = state.ops;
        let hit = state.faults.iter_mut().find(|fault| {
            fault.times > 0
                && number >= fault.from
                && fault.op.is_none_or(|only| only == op)
                && path.as_os_str().as_bytes().ends_with(fault.file.as_bytes())
        })?;
        hit.times = hit.times.saturating_sub(1);
        match hit.kind {
            Kind::Delay(time) => {
                drop(state);
                std::thread::sleep(time);
                None
            }
            Kind::Kill(seed) => {
                torn(&mut Random::seeded(seed));
                die()
            }
            Kind::PowerLoss(seed) => {
                state.survive(seed, &self.dir);
                die()
            }
            kind => Some(kind),
        }
    }
}

/// The process is gone, at once: nothing is flushed, nothing is dropped.
fn die() -> ! {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    // SAFETY: `_exit` of the C library takes any code and never returns.
    unsafe { _exit(CRASHED) }
}

impl State {
    fn shadow(&mut self, path: &Path) -> &mut Shadow {
        self.files.entry(path.to_owned()).or_default()
    }

    /// A file is opened; `before` is what it held, `None` if it was not there.
    fn opened(&mut self, path: &Path, before: Option<Vec<u8>>) {
        let known = self.files.contains_key(path);
        let shadow = self.shadow(path);
        match before {
            Some(content) if !known => {
                *shadow = Shadow { exists: true, linked: true, durable: content, ..Shadow::default() };
            }
            Some(_) => {}
            None => {
                let ghost = shadow.ghost.take();
                *shadow = Shadow { exists: true, ghost, ..Shadow::default() };
            }
        }
    }

    fn synced(&mut self, path: &Path, covered: Vec<Change>, names: bool) {
        self.syncs += 1;
        let shadow = self.shadow(path);
        for change in covered {
            apply(&mut shadow.durable, &change);
        }
        if names && !std::mem::replace(&mut shadow.linked, true) {
            self.dir_synced();
        }
    }

    fn deleted(&mut self, path: &Path, sync_dir: bool) {
        let shadow = self.shadow(path);
        let old = std::mem::take(shadow);
        shadow.ghost = if old.linked { Some(old.durable) } else { old.ghost };
        if sync_dir {
            self.dir_synced();
        }
    }

    fn dir_synced(&mut self) {
        for shadow in self.files.values_mut() {
            shadow.ghost = None;
            shadow.linked |= shadow.exists;
        }
    }

    /// Writes every file as a loss of power leaves it.
    fn survive(&self, seed: u64, to: &Path) {
        let mut random = Random::seeded(seed);
        for (path, shadow) in &self.files {
            let target = to.join(path.file_name().expect("a file"));
            let there = shadow.exists && (shadow.linked || random.one_in(2));
            let ghost = shadow.ghost.as_ref().filter(|_| random.one_in(2));
            let content = if there { Some(shadow.image(&mut random)) } else { ghost.cloned() };
            match content {
                Some(content) => fs::write(target, content).expect("what survives can be written"),
                // It may be gone already.
                None => drop(fs::remove_file(target)),
            }
            // Shared memory never survives.
            let mut shm = to.join(path.file_name().expect("a file")).into_os_string();
            shm.push("-shm");
            drop(fs::remove_file(shm));
        }
    }
}

impl Shadow {
    /// Changes so far.
    fn changes(&self) -> u64 {
        self.passed + self.pending.len() as u64
    }

    /// Takes the first of them that no sync has covered.
    fn take_up_to(&mut self, changes: u64) -> Vec<Change> {
        let covered = usize::try_from(changes.saturating_sub(self.passed)).unwrap_or(0);
        self.passed = self.passed.max(changes);
        self.pending.drain(..covered.min(self.pending.len())).collect()
    }

    /// The bytes at the last sync and some of the changes since: none, the first ones, or any.
    fn image(&self, random: &mut Random) -> Vec<u8> {
        let mut image = self.durable.clone();
        let count = self.pending.len();
        let (way, first) = (random.below(3), random.below(count + 1));
        for (index, change) in self.pending.iter().enumerate() {
            match way {
                0 => break,
                1 if index > first => break,
                1 if index == first => apply(&mut image, &torn(change, random)),
                1 => apply(&mut image, change),
                _ if random.one_in(2) => apply(&mut image, &torn(change, random)),
                _ => {}
            }
        }
        image
    }
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(bytes);
        }
        Change::Truncate(length) => image.truncate(*length),
    }
}

/// The first sectors of a write, or all of it.
fn torn(change: &Change, random: &mut Random) -> Change {
    match change {
        Change::Write(offset, bytes) => {
            let sectors = random.below(bytes.len() / SECTOR + 2);
            Change::Write(*offset, bytes[..bytes.len().min(sectors * SECTOR)].to_vec())
        }
        Change::Truncate(length) => Change::Truncate(*length),
    }
}
