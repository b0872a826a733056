//! A disk that fails while the ledger runs: once, for a while, or at one kind of operation.
//!
//! Two things hold throughout. What the ledger calls synced survives a loss of power at any
//! later moment: a sync that failed is never taken for one that held. And when the disk is well
//! again, what was stored and what was summed is, per caller, what was handed over.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::{EventType, Settled};
use tokenweir::ledger::{DATABASE, Ledger, LedgerOptions, LedgerReader, OpenCall, OwnReader};
use uuid::Uuid;

use crate::disk::{Fault, Kind, Op, Rig};
use crate::support::{PATIENCE, check_completeness, eventually, options, stored, usage};

/// Time for which a fault that lasts is left in place.
const FAILING: Duration = Duration::from_millis(700);

/// The smallest quota.
const MAX_BYTES: u64 = 16 << 20;

/// Who pays, and how much.
type Totals = BTreeMap<String, (u64, u64)>;

fn add(totals: &mut Totals, caller: &str, calls: u64, input: u64) {
    let total = totals.entry(caller.to_owned()).or_default();
    (total.0, total.1) = (total.0 + calls, total.1 + input);
}

/// One call as the sidecar makes it: summed if there is no slot.
fn one_call(ledger: &Ledger, caller: &str, input: u64) {
    let (id, usage) = (Uuid::now_v7(), usage(caller, input, 1));
    match ledger.reserve() {
        Some(slot) => slot.open(id, &usage).settle(Settled { id, time: Timestamp::now(), usage }),
        None => ledger.sum(&Settled { id, time: Timestamp::now(), usage }),
    }
}

/// What the ledger says was used.
fn told(dir: &Path) -> Totals {
    let mut totals = Totals::new();
    for event in stored(dir) {
        let (calls, input) = (event.data["calls"].as_u64(), event.data["tokens"]["input"].as_u64());
        match event.kind {
            EventType::Control => {}
            EventType::Usage | EventType::Summary => {
                add(&mut totals, &event.subject, calls.unwrap_or(1), input.unwrap_or(0));
            }
        }
    }
    totals
}

/// Whenever something is synced, takes the power away (in a copy) and looks whether it is there. Reads on meanwhile, as
/// the publisher does.
fn watch(ledger: &Ledger, rig: &Rig, stop: &AtomicBool) -> u64 {
    let (mut last, mut looks) = (0, 0);
    let mut reader = OwnReader::open(ledger.clone()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        reader.let_go_if_called_off();
        drop(reader.after(last, 1));
        let synced = ledger.wait_synced(last, Duration::from_millis(20));
        if synced == last {
            continue;
        }
        let left = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        rig.survivors(synced, left.path());
        let there = LedgerReader::open(left.path()).and_then(|reader| reader.last());
        let there = there.unwrap_or_else(|error| panic!("{synced} synced, and then {error}"));
        assert!(there >= synced, "{synced} synced, {there} survive");
        (last, looks) = (synced, looks + 1);
    }
    looks
}

/// Calls come all the time; the disk fails `fault` for a while and is well again.
fn fail_and_heal(which: &str, fault: Fault, lasts: bool) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let rig = Rig::new(dir.path());
    // Small, so that its WAL is copied again and again.
    let ledger = Ledger::open(LedgerOptions { max_bytes: MAX_BYTES, ..options(dir.path(), true) }).unwrap();
    let (mut handed, stop) = (Totals::new(), Arc::new(AtomicBool::new(false)));
    let watcher = {
        let (ledger, rig, stop) = (ledger.clone(), Arc::clone(&rig), Arc::clone(&stop));
        std::thread::spawn(move || watch(&ledger, &rig, &stop))
    };
    let mut n = 0;
    let mut calls_for = |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            n += 1;
            let caller = ["a", "b", "c"][n as usize % 3];
            one_call(&ledger, caller, n);
            add(&mut handed, caller, 1, n);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    calls_for(Duration::from_millis(100));
    rig.fail(&[fault]);
    calls_for(FAILING);
    if lasts {
        assert!(ledger.stats().degraded, "{which}: it says so");
    }
    rig.heal();
    eventually("well again", || {
        calls_for(Duration::from_millis(20));
        !ledger.stats().degraded
    });
    calls_for(Duration::from_millis(100));
    let stats = ledger.stats();
    assert_eq!(stats.accepted, stats.settled + stats.open + stats.summed, "{which}: {stats:?}");
    assert!(stats.summed > 0, "{which}: calls go to the sums: {stats:?}");
    ledger.close().unwrap();
    stop.store(true, Ordering::Relaxed);
    let looks = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("{which}: {n} calls, {} summed, {looks} losses of power", stats.summed);
    check_completeness(&stored(dir.path()));
    assert_eq!(told(dir.path()), handed, "{which}");
    let degraded = stored(dir.path()).iter().any(|event| event.data["degraded"] == true);
    assert!(degraded, "{which}: a control event says so");
}

fn fault(op: Op, file: &'static str, kind: Kind, times: u64) -> Fault {
    Fault { from: 0, times, op: Some(op), file, kind }
}

#[test]
fn a_sync_that_fails_once_is_never_taken_for_one_that_held() {
    fail_and_heal("one failed sync", fault(Op::Sync, "-wal", Kind::Error, 1), false);
}

/// A copy that was overtaken has written into the database, and no sync of that has been asked for yet.
#[test]
fn pages_that_a_failed_sync_of_the_database_lost_are_copied_again() {
    let fault = |times| fault(Op::Sync, DATABASE, Kind::Error, times);
    fail_and_heal("one failed sync of the database", fault(1), false);
    fail_and_heal("failing syncs of the database", fault(u64::MAX), true);
}

#[test]
fn syncs_that_fail_for_long() {
    fail_and_heal("failing syncs", fault(Op::Sync, "", Kind::Error, u64::MAX), true);
}

#[test]
fn a_file_system_that_turned_read_only() {
    fail_and_heal("failing writes", fault(Op::Write, "", Kind::Error, u64::MAX), true);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_write() {
    fail_and_heal("full", fault(Op::Write, "", Kind::Full, u64::MAX), true);
}

/// Half of a disk's turns around full.
const FLAPS: [Duration; 3] =
    [Duration::from_millis(15), Duration::from_millis(120), Duration::from_millis(600)];

/// How long a disk flaps.
const FLAPPING: Duration = Duration::from_secs(2);

/// Within which a ledger finds that its disk is well: a pause of a second at most between tries, on a
/// loaded machine.
const WELL_WITHIN: Duration = Duration::from_secs(4);

/// Within which no sum is left in memory, once the disk is well.
const STORED_WITHIN: Duration = Duration::from_secs(1);

/// Calls live for longer than a turn, so some begin while nothing can be stored and end when all is well.
#[test]
fn a_disk_that_flaps_around_full_lets_go_of_its_sums() {
    for (n, flap) in FLAPS.into_iter().enumerate() {
        let kind = [Kind::Full, Kind::Error][n % 2];
        flap_and_heal(flap, fault(Op::Write, "", kind, u64::MAX));
    }
}

/// Of a disk that is slow.
const SLOW_SYNC: Duration = Duration::from_millis(600);

/// A call that runs: until when, in which slot, and what it costs.
type Running = (Instant, Option<OpenCall>, &'static str, u64);

fn flap_and_heal(flap: Duration, fault: Fault) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let rig = Rig::new(dir.path());
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    let (began, mut handed, mut n) = (Instant::now(), Totals::new(), 0);
    let mut running: VecDeque<Running> = VecDeque::new();
    let mut turn = |ends: bool| {
        let caller = ["a", "b", "c"][n as usize % 3];
        if !ends {
            n += 1;
            let open = ledger.reserve().map(|slot| slot.open(Uuid::now_v7(), &usage(caller, 0, 0)));
            running.push_back((Instant::now() + FAILING, open, caller, n));
        }
        while running.front().is_some_and(|call| ends || call.0 <= Instant::now()) {
            let (_, open, caller, input) = running.pop_front().unwrap();
            add(&mut handed, caller, 1, input);
            let settled =
                Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage(caller, input, 1) };
            match open {
                Some(open) => open.settle(settled),
                None => ledger.sum(&settled),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    while began.elapsed() < FLAPPING {
        let full = (began.elapsed().as_millis() / flap.as_millis()) % 2 == 1;
        rig.fail(if full { std::slice::from_ref(&fault) } else { &[] });
        turn(false);
    }
    rig.heal();
    let healed = Instant::now();
    while ledger.stats().degraded {
        turn(false);
        assert!(healed.elapsed() < WELL_WITHIN, "it still says degraded");
    }
    let well = Instant::now();
    while well.elapsed() < FAILING {
        turn(false);
    }
    assert!(!ledger.stats().degraded, "and says so again");
    turn(true);
    // No control event is due for an hour, and nobody stops the ledger: a crash now would lose nothing.
    std::thread::sleep(STORED_WITHIN);
    let stats = ledger.stats();
    assert!(stats.summed > 0 && stats.settled > 0 && !stats.degraded, "{flap:?}: {stats:?}");
    assert_eq!((stats.open, stats.accepted), (0, stats.settled + stats.summed), "{flap:?}");
    assert_eq!(told(dir.path()), handed, "{flap:?}: {stats:?}");
    let summaries = stored(dir.path()).iter().filter(|event| event.kind == EventType::Summary).count();
    let most = 3 * (2 + began.elapsed().as_millis() / 500);
    println!("flaps of {flap:?}: {} calls, {} summed in {summaries} events", stats.accepted, stats.summed);
    assert!(summaries as u128 <= most, "{summaries} summary events, where {most} would do");
    ledger.close().unwrap();
    check_completeness(&stored(dir.path()));
    assert_eq!(told(dir.path()), handed, "{flap:?}");
}

/// A slow disk makes publishing late and nothing else: no call waits, none is lost, and what the death of the process
/// could take is as little as ever.
#[test]
fn a_slow_disk_holds_nobody_up() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let rig = Rig::new(dir.path());
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    rig.fail(&[fault(Op::Sync, "-wal", Kind::Delay(SLOW_SYNC), u64::MAX)]);
    let syncs = rig.syncs();
    let mut longest = Duration::ZERO;
    for n in 0..1_000 {
        let began = Instant::now();
        one_call(&ledger, "a", n);
        longest = longest.max(began.elapsed());
    }
    let handed = Instant::now();
    while ledger.wait_stored(999, PATIENCE) < 1_000 {}
    // A loaded machine may hold a thread up for some of a sync.
    let stored = handed.elapsed();
    assert!(
        longest < SLOW_SYNC / 2 && stored < SLOW_SYNC / 2,
        "a call waited {longest:?}, all of them {stored:?}"
    );
    assert!(ledger.stats().unsynced > 0, "what is not synced is shown");
    while ledger.wait_synced(999, PATIENCE) < 1_000 {}
    assert!(rig.syncs() > syncs);
    rig.heal();
    ledger.close().unwrap();
    assert_eq!(told(dir.path())["a"], (1_000, 999 * 500));
}
