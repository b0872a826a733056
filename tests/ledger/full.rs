//! The ledger where room is short: a quota that fills, and a volume that is really full.
//!
//! The volumes are small tmpfs in a mount namespace of their own, which takes root; without, they are listed as not run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::{EventType, Settled};
use tokenweir::ledger::{DATABASE, Ledger, LedgerOptions, LedgerReader, OpenCall};
use uuid::Uuid;

use crate::skip;
use crate::support::{check_completeness, eventually, options, stored, usage};

const MIB: u64 = 1 << 20;

/// Set for a process that runs on a volume of its own; the value is its mount point.
const VOLUME: &str = "TOKENWEIR_ROOM_TEST_VOLUME";

/// Calls and tokens by caller, as the callers know them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals(BTreeMap<String, (u64, u64, u64)>);

impl Totals {
    fn add(&mut self, caller: &str, calls: u64, input: u64, output: u64) {
        let total = self.0.entry(caller.to_owned()).or_default();
        *total = (total.0 + calls, total.1 + input, total.2 + output);
    }

    /// What the ledger says, usage events and summaries together, and how many calls are in the
    /// latter.
    fn stored(dir: &Path) -> (Totals, u64) {
        let (mut totals, mut summed) = (Totals::default(), 0);
        for event in stored(dir) {
            let tokens = |name: &str| event.data["tokens"][name].as_u64().unwrap_or(0);
            let calls = match event.kind {
                EventType::Usage => 1,
                EventType::Summary => event.data["calls"].as_u64().unwrap(),
                EventType::Control => continue,
            };
            summed += if event.kind == EventType::Summary { calls } else { 0 };
            totals.add(&event.subject, calls, tokens("input"), tokens("output"));
        }
        (totals, summed)
    }
}

/// Callers of a ledger, who keep their own books.
#[derive(Default)]
struct Callers {
    truth: Totals,
    calls: u64,
    open: Vec<(OpenCall, String, u64)>,
}

impl Callers {
    fn next(&mut self) -> (String, u64) {
        self.calls += 1;
        (format!("team-{}", self.calls % 5), self.calls)
    }

    /// One call as the proxy makes it: with a slot where there is one, else into the sums.
    fn call(&mut self, ledger: &Ledger) {
        let (caller, n) = self.next();
        let usage = usage(&caller, n, 2 * n);
        let (id, time) = (Uuid::now_v7(), Timestamp::now());
        match ledger.reserve() {
            Some(slot) => slot.open(id, &usage).settle(Settled { id, time, usage }),
            None => ledger.sum(&Settled { id, time, usage }),
        }
        self.truth.add(&caller, 1, n, 2 * n);
    }

    /// A call that lasts until [`Callers::end_open`].
    fn begin(&mut self, ledger: &Ledger) {
        let (caller, n) = self.next();
        let slot = ledger.reserve().expect("a slot");
        self.open.push((slot.open(Uuid::now_v7(), &usage(&caller, 0, 0)), caller, n));
    }

    fn end_open(&mut self, some: usize) {
        for (call, caller, n) in self.open.drain(..some) {
            let (id, time) = (call.id(), Timestamp::now());
            call.settle(Settled { id, time, usage: usage(&caller, n, 2 * n) });
            self.truth.add(&caller, 1, n, 2 * n);
        }
    }

    fn check(&self, dir: &Path, some_summed: bool) {
        check_completeness(&stored(dir));
        let (found, summed) = Totals::stored(dir);
        assert_eq!(found, self.truth, "{summed} of {} calls are in sums", self.calls);
        assert_eq!(summed > 0, some_summed, "{summed} calls are in sums");
    }
}

/// What lies in a directory, in bytes on the disk.
fn bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().flatten();
    // `-shm` is memory that SQLite maps, 32 KiB for each 32 MiB of WAL.
    files
        .filter(|file| !file.path().to_string_lossy().ends_with("-shm"))
        .map(|file| file.metadata().map_or(0, |file| file.len()))
        .sum()
}

fn memory_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn a_quota_full_of_undelivered_events_sums_calls_until_the_broker_takes_some() {
    let dir = memory_dir();
    let max_bytes = 16 * MIB;
    let ledger = Ledger::open(LedgerOptions { max_bytes, ..options(dir.path(), true) }).unwrap();
    let mut callers = Callers::default();
    callers.begin(&ledger);
    callers.begin(&ledger);
    let mut most = 0;
    eventually("full", || {
        for _ in 0..50 {
            callers.call(&ledger);
        }
        most = most.max(bytes(dir.path()));
        ledger.stats().degraded && ledger.reserve().is_none()
    });
    callers.end_open(1);
    for _ in 0..1_000 {
        callers.call(&ledger);
    }
    let full_at = LedgerReader::open(dir.path()).unwrap().last().unwrap();
    assert!(full_at > 4_000, "16 MiB hold {full_at} events");
    // Half of what waits is delivered; the ledger needs no restart.
    ledger.mark_delivered(full_at / 2);
    eventually("stores again", || ledger.reserve().is_some());
    assert_eq!(LedgerReader::open(dir.path()).unwrap().delivered().unwrap(), full_at / 2);
    for _ in 0..200 {
        callers.call(&ledger);
    }
    callers.end_open(1);
    eventually("everything is stored", || {
        let stats = ledger.stats();
        assert_eq!(stats.accepted, stats.settled + stats.open + stats.summed);
        most = most.max(bytes(dir.path()));
        stats.open == 0 && !stats.degraded
    });
    assert!(most <= max_bytes, "{most} bytes of {max_bytes}");
    assert_eq!(ledger.stats().bytes_max, max_bytes);
    let gone = LedgerReader::open(dir.path()).unwrap().after(0, 1).unwrap()[0].position - 1;
    assert!(gone > 0 && gone <= full_at / 2, "delivered events go, oldest first: {gone}");
    let stats = ledger.stats();
    ledger.close().unwrap();
    // What went was delivered: the rest, and the counters, are complete.
    assert_eq!(stats.accepted, callers.calls);
    let control = stored(dir.path()).into_iter().next_back().unwrap();
    assert_eq!(control.data["accepted"].as_u64(), Some(callers.calls));
    assert_eq!(control.data["summed"].as_u64(), Some(stats.summed));
}

#[test]
fn a_full_ledger_ends_with_its_sums_stored() {
    let dir = memory_dir();
    let ledger = Ledger::open(LedgerOptions { max_bytes: 16 * MIB, ..options(dir.path(), true) }).unwrap();
    let mut callers = Callers::default();
    eventually("full", || {
        for _ in 0..50 {
            callers.call(&ledger);
        }
        ledger.stats().degraded
    });
    for _ in 0..500 {
        callers.call(&ledger);
    }
    ledger.close().unwrap();
    callers.check(dir.path(), true);
    let last = stored(dir.path()).into_iter().next_back().unwrap();
    assert_eq!((last.data["final"].as_bool(), last.data["degraded"].as_bool()), (Some(true), Some(true)));
    // The next start finds a full ledger and takes it from there.
    let ledger = Ledger::open(LedgerOptions { max_bytes: 16 * MIB, ..options(dir.path(), true) }).unwrap();
    callers.call(&ledger);
    ledger.close().unwrap();
    callers.check(dir.path(), true);
}

/// Seconds of load, and events per second.
fn deleting_load() -> (u64, u64) {
    if skip::long() { (30, 20_000) } else { (2, 20_000) }
}

#[test]
fn deleting_keeps_up_with_what_comes() {
    let dir = memory_dir();
    let (seconds, per_second) = deleting_load();
    let max_bytes = 32 * MIB;
    let slots = 50_000;
    let ledger = Ledger::open(LedgerOptions { max_bytes, slots, ..options(dir.path(), false) }).unwrap();
    let mut callers = Callers::default();
    let (began, mut most, mut looked) = (Instant::now(), 0, 0);
    // On a machine too slow for the rate, the same calls take longer.
    while callers.calls < seconds * per_second {
        let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
        for _ in callers.calls..due.min(callers.calls + 2_000) {
            callers.call(&ledger);
        }
        if began.elapsed().as_millis() / 50 > looked {
            looked = began.elapsed().as_millis() / 50;
            most = most.max(bytes(dir.path()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    ledger.close().unwrap();
    let stats = ledger.stats();
    println!(
        "{} calls in {took:?}: {} stored, {} summed, at most {most} of {max_bytes} bytes",
        callers.calls, stats.settled, stats.summed
    );
    assert!(most <= max_bytes, "{most} bytes of {max_bytes}");
    assert_eq!((stats.settled, stats.summed), (callers.calls, 0), "no call had to be summed");
    let first = LedgerReader::open(dir.path()).unwrap().after(0, 1).unwrap()[0].position;
    assert!(first > callers.calls / 2, "old events are gone: {first}");
}

#[test]
fn a_reader_that_does_not_let_go_breaks_nothing_and_the_wal_is_cut_once_it_does() {
    let dir = memory_dir();
    let ledger = Ledger::open(LedgerOptions { max_bytes: 128 * MIB, ..options(dir.path(), true) }).unwrap();
    let mut callers = Callers::default();
    callers.call(&ledger);
    eventually("stored", || ledger.stats().stored >= 1);
    let other = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM event;").unwrap();
    let wal = || std::fs::metadata(dir.path().join(format!("{DATABASE}-wal"))).map_or(0, |file| file.len());
    // 128 MiB leave 8 MiB to a WAL before it is copied, and 10.7 to it at most.
    eventually("the WAL grows beyond its part", || {
        for _ in 0..100 {
            callers.call(&ledger);
        }
        wal() > 16 * MIB
    });
    assert!(!ledger.stats().degraded);
    other.execute_batch("COMMIT").unwrap();
    eventually("the WAL is cut", || {
        callers.call(&ledger);
        wal() <= 11 * MIB
    });
    ledger.close().unwrap();
    callers.check(dir.path(), false);
}

#[test]
fn a_reader_that_would_have_the_wal_fill_the_quota_makes_calls_summed_until_it_lets_go() {
    let dir = memory_dir();
    let max_bytes = 16 * MIB;
    let ledger = Ledger::open(LedgerOptions { max_bytes, ..options(dir.path(), false) }).unwrap();
    let mut callers = Callers::default();
    callers.call(&ledger);
    eventually("stored", || ledger.stats().stored >= 1);
    let other = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM event;").unwrap();
    let mut most = 0;
    eventually("failing", || {
        for _ in 0..50 {
            callers.call(&ledger);
        }
        most = most.max(bytes(dir.path()));
        ledger.stats().degraded
    });
    callers.call(&ledger);
    assert!(most <= max_bytes, "{most} bytes of {max_bytes}");
    other.execute_batch("COMMIT").unwrap();
    eventually("stores again", || ledger.reserve().is_some());
    callers.call(&ledger);
    ledger.close().unwrap();
    let stats = ledger.stats();
    assert_eq!((stats.accepted, stats.open), (callers.calls, 0));
}

/// Runs a test of this binary again on a tmpfs of its own.
fn on_a_volume(mib: u32, test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=\"$1\" tokenweir-test \"$2\" && exec \"$3\" --exact \"$4\" --ignored --nocapture";
    let may = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tokenweir-test"])
        .arg(dir.path())
        .output();
    if !may.is_ok_and(|may| may.status.success()) {
        return skip::test(skip::NO_MOUNT);
    }
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &format!("{mib}m")])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(format!("full::{test}"))
        .env(VOLUME, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// The mount point and the ledger's directory on it, in a process made by [`on_a_volume`].
fn volume() -> Option<(PathBuf, PathBuf)> {
    let mount = PathBuf::from(std::env::var_os(VOLUME)?);
    let dir = mount.join("ledger");
    Some((mount, dir))
}

/// Another program's file, which takes every byte that is free.
struct Filler(PathBuf);

impl Filler {
    fn fill(mount: &Path) -> Filler {
        let filler = Filler(mount.join("filler"));
        filler.again();
        filler
    }

    /// Takes what has come free since.
    fn again(&self) {
        let mut file = File::options().create(true).append(true).open(&self.0).unwrap();
        let block = [7; 64 * 1024];
        let mut part = block.len();
        while part > 0 {
            if file.write_all(&block[..part]).is_err() {
                part /= 2;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_volume_that_fills_and_is_freed_costs_no_token_and_no_restart() {
    on_a_volume(24, "filled_and_freed");
}

#[test]
#[ignore = "run by another test, on a volume of its own"]
fn filled_and_freed() {
    let Some((mount, dir)) = volume() else { return };
    let ledger = Ledger::open(options(&dir, true)).unwrap();
    let mut callers = Callers::default();
    for round in 0..3 {
        for _ in 0..300 {
            callers.call(&ledger);
        }
        for _ in 0..20 {
            callers.begin(&ledger);
        }
        eventually("rows of the open calls", || {
            LedgerReader::open(&dir).unwrap().open_calls().unwrap() >= 20
        });
        let filler = Filler::fill(&mount);
        eventually("the volume is full", || {
            callers.call(&ledger);
            ledger.stats().degraded && ledger.reserve().is_none()
        });
        callers.end_open(10);
        // In the second round not even the room of the ballast is left.
        let filled = Instant::now();
        while filled.elapsed() < Duration::from_millis(700) {
            callers.call(&ledger);
            if round == 1 {
                filler.again();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(ledger.reserve().is_none());
        let stats = ledger.stats();
        assert_eq!(stats.accepted, stats.settled + stats.open + stats.summed);
        filler.free();
        eventually("stores again", || ledger.reserve().is_some());
        callers.end_open(10);
        for _ in 0..100 {
            callers.call(&ledger);
        }
        eventually("everything is stored", || ledger.stats().open == 0);
        assert!(!ledger.stats().degraded);
    }
    ledger.close().unwrap();
    callers.check(&dir, true);
}

#[test]
fn a_ledger_ends_on_a_full_volume_with_its_sums_stored() {
    on_a_volume(24, "ends_while_full");
}

#[test]
#[ignore = "run by another test, on a volume of its own"]
fn ends_while_full() {
    let Some((mount, dir)) = volume() else { return };
    let ledger = Ledger::open(options(&dir, true)).unwrap();
    let mut callers = Callers::default();
    for _ in 0..500 {
        callers.call(&ledger);
    }
    callers.begin(&ledger);
    eventually("stored", || ledger.stats().settled == 500);
    let _filler = Filler::fill(&mount);
    eventually("the volume is full", || {
        callers.call(&ledger);
        ledger.stats().degraded && ledger.reserve().is_none()
    });
    for _ in 0..500 {
        callers.call(&ledger);
    }
    callers.end_open(1);
    ledger.close().unwrap();
    callers.check(&dir, true);
}

#[test]
fn marks_are_stored_and_events_deleted_with_no_byte_free() {
    on_a_volume(24, "marks_while_full");
}

#[test]
#[ignore = "run by another test, on a volume of its own"]
fn marks_while_full() {
    let Some((mount, dir)) = volume() else { return };
    // Delivered events may go at once.
    let keep = Duration::ZERO;
    let ledger = Ledger::open(LedgerOptions { keep, ..options(&dir, true) }).unwrap();
    let mut callers = Callers::default();
    for _ in 0..3_000 {
        callers.call(&ledger);
    }
    eventually("stored", || ledger.stats().settled == 3_000);
    let filler = Filler::fill(&mount);
    eventually("the volume is full", || {
        callers.call(&ledger);
        ledger.stats().degraded && ledger.reserve().is_none()
    });
    // The broker is back.
    ledger.mark_delivered(2_500);
    let reader = LedgerReader::open(&dir).unwrap();
    eventually("the mark is stored", || reader.delivered().unwrap() == 2_500);
    eventually("delivered events are gone", || reader.after(0, 1).unwrap()[0].position == 2_501);
    filler.free();
    eventually("stores again", || ledger.reserve().is_some());
    drop(reader);
    ledger.close().unwrap();
    let stats = ledger.stats();
    assert_eq!((stats.accepted, stats.open), (callers.calls, 0));
}

#[test]
fn a_crash_on_a_full_volume_is_said_by_the_next_start_which_works_there() {
    on_a_volume(24, "crashes_while_full");
}

#[test]
#[ignore = "run by another test, on a volume of its own"]
fn crashes_while_full() {
    let Some((mount, dir)) = volume() else { return };
    let dies = "TOKENWEIR_ROOM_TEST_DIES";
    if std::env::var_os(dies).is_some() {
        let ledger = Ledger::open(options(&dir, true)).unwrap();
        let mut callers = Callers::default();
        for _ in 0..200 {
            callers.call(&ledger);
        }
        callers.begin(&ledger);
        eventually("stored", || LedgerReader::open(&dir).unwrap().open_calls().unwrap() == 1);
        let _filler = Filler::fill(&mount);
        eventually("the volume is full", || {
            callers.call(&ledger);
            ledger.stats().degraded && ledger.reserve().is_none()
        });
        // The open call ends in a sum, which dies with the process: then it comes back as crashed.
        callers.end_open(1);
        eventually("it is summed", || ledger.stats().open == 0);
        std::process::abort();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "full::crashes_while_full", "--ignored", "--nocapture"]).env(dies, "1");
    assert!(!child.output().unwrap().status.success());
    assert!(mount.join("filler").exists());
    let ledger = Ledger::open(options(&dir, true)).unwrap();
    ledger.close().unwrap();
    let events = stored(&dir);
    check_completeness(&events);
    let crashed = events.iter().filter(|event| event.data["stream"]["outcome"] == "crashed").count();
    let controls: Vec<_> = events.iter().filter(|event| event.kind == EventType::Control).collect();
    assert_eq!((crashed, controls.len()), (1, 2));
    assert_eq!((&controls[0].data["final"], &controls[0].data["degraded"]), (&true.into(), &true.into()));
    assert_eq!((&controls[1].data["final"], &controls[1].data["degraded"]), (&true.into(), &false.into()));
}
