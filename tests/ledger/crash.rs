//! A ledger's life broken off at every operation on its files, and its recovery too.
//!
//! A kill leaves what was written in the cache; a loss of power leaves what was synced, and some of
//! the rest. Whatever is left: each call that was committed, or synced, has its event, nothing that was
//! seen by then has changed or is gone, sequences and totals agree, and recovering again changes nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{CRASHED, Fault, Kind, Rig};
use crate::script::{self, Witness};
use crate::skip;
use crate::support::options;
use crate::syncs::directory_was_synced;
use tokenweir::ledger::Ledger;

/// Directory, and what happens there: `live` or `recover`, then the fault, if any.
const CHILD: &str = "TOKENWEIR_LEDGER_CRASH_CHILD";

/// Processes at once: each waits most of the time.
const WORKERS: usize = 6;

/// More operations than any script here has.
const OPS_MAX: u64 = 5_000;

/// Of the crashes, every so many get every crash of the recovery on top.
const RECOVERY_EVERY: u64 = 37;

/// What ends a process: how, and before which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    PowerLoss,
}

/// What a process that breaks off does; not a test of its own.
#[test]
#[ignore = "run by the other tests"]
fn crash_child() {
    let Some(arguments) = std::env::var_os(CHILD) else { return };
    let arguments = arguments.into_string().unwrap();
    let words: Vec<&str> = arguments.split('\t').collect();
    let [dir, role, end, at, seed] = words[..] else { panic!("{arguments}") };
    let (dir, at, seed) = (Path::new(dir), at.parse().unwrap(), seed.parse().unwrap());
    let rig = Rig::new(dir);
    let kind = if end == "Kill" { Kind::Kill(seed) } else { Kind::PowerLoss(seed) };
    rig.fail(&[Fault { from: at, times: 1, op: None, file: "", kind }]);
    match role {
        "live" => script::live(dir),
        _ => script::recover(dir),
    }
}

/// Runs a process in `dir` that ends before operation `at`, and hears what it says. Returns whether
/// it was broken off.
fn broken_off(witness: &mut Witness, dir: &Path, role: &str, end: End, at: u64, seed: u64) -> bool {
    let dir = dir.to_str().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["crash::crash_child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, format!("{dir}\t{role}\t{end:?}\t{at}\t{seed}"))
        .output()
        .unwrap();
    let crashed = output.status.code() == Some(CRASHED);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(crashed || output.status.success(), "{role} {end:?} at {at}, seed {seed}: {why}");
    if role == "live" {
        witness.hear(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(witness.done, !crashed);
    }
    crashed
}

/// In memory, where syncs cost nothing: what survives is computed, not left to a disk.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Breaks the life off before operation `at` and checks what is left. Returns whether it came so far.
fn crash(end: End, at: u64, seed: u64) -> bool {
    let dir = scratch();
    let mut witness = Witness::default();
    let crashed = broken_off(&mut witness, dir.path(), "live", end, at, seed);
    if at.is_multiple_of(RECOVERY_EVERY) || skip::is_long() {
        crash_recovery(&witness, dir.path(), end, at, seed);
    }
    let power_lost = end == End::PowerLoss;
    checked(&format!("{end:?} at {at}, seed {seed}"), || witness.check(dir.path(), power_lost));
    crashed
}

/// Breaks the recovery of what lies in a directory off before each of its operations.
fn crash_recovery(witness: &Witness, left: &Path, before: End, first: u64, seed: u64) {
    for at in 1..OPS_MAX {
        let end = if at % 2 == 0 { End::Kill } else { End::PowerLoss };
        let dir = scratch();
        for entry in fs::read_dir(left).unwrap().flatten() {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let crashed = broken_off(&mut witness.clone(), dir.path(), "recover", end, at, seed + at);
        let power_lost = [before, end].contains(&End::PowerLoss);
        checked(&format!("{before:?} at {first}, then {end:?} at {at} of recovery, seed {seed}"), || {
            witness.check(dir.path(), power_lost);
        });
        if !crashed {
            return;
        }
    }
}

fn checked(which: &str, check: impl FnOnce()) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err();
    assert!(!panicked, "{which}: see above");
}

/// Breaks off before operation 1, 2, .. until a life comes to its own end. Returns how many there
/// were.
fn every_step(way: impl Fn(u64) -> End + Sync, seed: u64) -> u64 {
    let (next, end) = (AtomicU64::new(1), AtomicU64::new(OPS_MAX));
    std::thread::scope(|scope| {
        let work = || loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at > end.load(Ordering::Relaxed) {
                return;
            }
            if !crash(way(at), at, seed.wrapping_mul(1_000_003) + at) {
                end.fetch_min(at, Ordering::Relaxed);
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let steps = end.load(Ordering::Relaxed) - 1;
    assert!((50..OPS_MAX - 1).contains(&steps), "{steps} operations: the script is not what it was");
    steps
}

#[test]
fn whatever_step_a_kill_or_a_loss_of_power_hits_nothing_committed_is_lost() {
    skip::long(); // the recovery after each of them is broken off as well
    let began = std::time::Instant::now();
    let steps = every_step(|at| if at % 2 == 0 { End::Kill } else { End::PowerLoss }, 1);
    println!("{steps} operations, one crash at each, {:?}", began.elapsed());
}

/// A file whose name is lost is lost. SQLite syncs the directory too, when it first syncs a new file of its own; that
/// does not count here.
#[test]
fn names_of_new_files_and_directories_are_synced_before_an_event_is() {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().join("made/here");
    let _rig = Rig::new(top.path()); // SQLite is watched from here on
    let ledger = Ledger::open(options(&dir, true)).unwrap();
    for dir in [&dir, &top.path().join("made"), top.path()] {
        assert!(directory_was_synced(dir), "{}", dir.display());
    }
    ledger.close().unwrap();
    drop(ledger);
    script::open_again(&dir).close().unwrap();
    assert!(directory_was_synced(&dir), "the WAL is a new one each time");
    assert!(!directory_was_synced(top.path()), "this name is known");
}

#[test]
fn every_step_both_ways_with_every_step_of_recovery() {
    if !skip::long_test() {
        return;
    }
    let began = std::time::Instant::now();
    for seed in 2..4 {
        let kills = every_step(|_| End::Kill, seed);
        let losses = every_step(|_| End::PowerLoss, seed);
        println!("seed {seed}: {kills} kills, {losses} losses of power, {:?}", began.elapsed());
    }
}
