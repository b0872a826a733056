//! Truthful events, from real ledgers: several boots, some that die with calls open, sums, control events
//! by the clock. And ledgers that are tampered with.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{CloudEvent, ControlKey, EventType, Settled};
use proptest::prelude::*;
use serde_json::Value;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use tokenweir::report::{FindingKind, Input, Verdict, VerifyOptions, verify};
use uuid::Uuid;

use crate::support::{call, eventually, options, stored, usage};

/// Often enough that a boot of a test has some.
pub(crate) const CONTROLS_EVERY: Duration = Duration::from_millis(15);

/// What a boot does.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Calls between two control events.
    stretches: Vec<u64>,
    /// Calls that are only summed.
    summed: u64,
    /// Calls that are open when it dies; `None`: it ends by itself.
    open_at_death: Option<u64>,
}

pub(crate) fn life() -> impl Strategy<Value = Life> {
    let stretches = prop::collection::vec(0..6_u64, 1..4);
    (stretches, 0..3_u64, prop::option::of(0..3_u64)).prop_map(|(stretches, summed, open_at_death)| Life {
        stretches,
        summed,
        open_at_death,
    })
}

/// The key that signs the control events of all these ledgers. Who does not have it reads them all the same.
pub(crate) fn key() -> ControlKey {
    ControlKey::new(b"the key of the tests")
}

pub(crate) fn frequent(dir: &Path) -> LedgerOptions {
    LedgerOptions { control_interval: CONTROLS_EVERY, control_key: Some(key()), ..options(dir, true) }
}

/// Lives one boot in a directory; returns the directory in which the next one goes on.
pub(crate) fn live(dir: tempfile::TempDir, life: &Life) -> tempfile::TempDir {
    let ledger = Ledger::open(frequent(dir.path())).unwrap();
    let mut n = 0;
    for calls in &life.stretches {
        for _ in 0..*calls {
            n += 1;
            call(&ledger, ["a", "b"][n as usize % 2], n, n + 7);
        }
        next_control(&ledger, dir.path());
    }
    for n in 0..life.summed {
        ledger.sum(&Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage("s", 100 + n, 3) });
    }
    let Some(open) = life.open_at_death else {
        ledger.close().unwrap();
        return dir;
    };
    if life.summed > 0 {
        next_control(&ledger, dir.path());
    }
    call(&ledger, "late", 5, 5);
    let open: Vec<_> =
        (0..open).map(|_| ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("cut", 0, 0))).collect();
    let reader = LedgerReader::open(dir.path()).unwrap();
    eventually("committed", || reader.open_calls().unwrap() == open.len() as u64);
    eventually("stored", || ledger.stats().stored > n + 1 && late(dir.path()));
    // What a killed process leaves: the files as they lie there.
    let next = tempfile::tempdir().unwrap();
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(dir.path().join(file), next.path().join(file)).unwrap();
    }
    for call in open {
        let (id, usage) = (call.id(), usage("cut", 0, 0));
        call.settle(Settled { id, time: Timestamp::now(), usage });
    }
    next
}

pub(crate) fn late(dir: &Path) -> bool {
    stored(dir).last().is_some_and(|last| last.kind != EventType::Summary)
}

pub(crate) fn next_control(ledger: &Ledger, dir: &Path) {
    let controls = || stored(dir).iter().filter(|event| event.kind == EventType::Control).count();
    let before = controls();
    eventually("a control event", || controls() > before);
    assert!(ledger.stats().stored > 0);
}

/// Events of a ledger that lived so, as they are stored. The last boot ends by itself.
pub(crate) fn truth(lives: &[Life]) -> (tempfile::TempDir, Vec<String>) {
    let mut dir = tempfile::tempdir().unwrap();
    for life in lives {
        dir = live(dir, life);
    }
    let last = Ledger::open(frequent(dir.path())).unwrap();
    call(&last, "last", 1, 1);
    last.close().unwrap();
    let rows = LedgerReader::open(dir.path()).unwrap().after(0, usize::MAX).unwrap();
    (dir, rows.into_iter().map(|row| row.body).collect())
}

/// The same truth for every test that does not need its own.
pub(crate) fn a_truth() -> (tempfile::TempDir, Vec<String>) {
    let closed = Life { stretches: vec![4, 3], summed: 2, open_at_death: None };
    let killed = Life { stretches: vec![5, 2], summed: 1, open_at_death: Some(2) };
    truth(&[closed.clone(), killed.clone(), closed, killed])
}

/// The one of [`a_truth`] that tests which change nothing of it have together.
pub(crate) fn the_truth() -> (&'static Path, &'static [String]) {
    static TRUTH: LazyLock<(tempfile::TempDir, Vec<String>)> = LazyLock::new(a_truth);
    (TRUTH.0.path(), &TRUTH.1)
}

pub(crate) fn all(input: Input) -> VerifyOptions {
    VerifyOptions::new(vec![input])
}

pub(crate) fn file_of(lines: &[String]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>())
        .unwrap();
    file
}

pub(crate) fn verdict(lines: &[String], change: impl FnOnce(&mut VerifyOptions)) -> Verdict {
    let file = file_of(lines);
    let mut options = all(Input::Files(file.path().to_owned()));
    change(&mut options);
    verify(&options).unwrap()
}

pub(crate) fn found(verdict: &Verdict) -> BTreeSet<&'static str> {
    verdict.findings.iter().map(|finding| finding.kind.as_str()).collect()
}

pub(crate) fn parsed(line: &str) -> CloudEvent<Value> {
    serde_json::from_str(line).unwrap()
}

pub(crate) fn sequence(event: &CloudEvent<Value>) -> u64 {
    event.sequence.as_ref().unwrap().parse().unwrap()
}

pub(crate) fn set(kinds: &[FindingKind]) -> BTreeSet<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

/// Changes the tables of a ledger that nobody has open.
pub(crate) fn tamper(dir: &Path, sql: &str) {
    let db = rusqlite::Connection::open(dir.join("ledger.sqlite3")).unwrap();
    db.execute_batch(sql).unwrap();
}

/// A ledger's files once more.
pub(crate) fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    tamper(dir, "PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::copy(dir.join("ledger.sqlite3"), copy.path().join("ledger.sqlite3")).unwrap();
    copy
}

pub(crate) const ALL_DELIVERED: &str =
    "UPDATE state SET value = json_set(value, '$.mark', json_extract(value, '$.last')) WHERE name = 'log';";
