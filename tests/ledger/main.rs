//! The ledger through its front door, real processes that are killed, and a disk that breaks.
//!
//! - this file: what a ledger does when nothing goes wrong
//! - `kill`: real processes that are killed
//! - `disk`, `vfs`, `syncs`: a disk that breaks on purpose, the SQLite VFS that leads to it, and all syncs
//! - `script`: a life of a ledger, told line by line, and what must be true after any end of it
//! - `crash`: that life broken off at every step, by a kill or a loss of power, and recovery too
//! - `errors`: a disk that fails while the ledger runs, and gets well again or not
//! - `damage`: databases that are damaged
//! - `versions`: ledgers of older versions, databases that are no ledger, copies
//! - `clock`: a wall clock that jumps
//! - `follow`: readers while the writer runs at full speed
//! - `full`: a quota that fills, and a volume that is really full
//! - `cost`: figures
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod clock;
mod cost;
mod crash;
mod damage;
mod disk;
mod errors;
mod follow;
mod full;
mod kill;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod syncs;
mod versions;
mod vfs;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{EventType, Progress, Request, Settled, Stream, Tokens};
use serde_json::Value;
use support::skip;
use support::{call, check_completeness, eventually, options, stored, usage};
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use uuid::Uuid;

#[test]
fn a_call_becomes_one_event_with_every_attribute() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    let id = call(&ledger, "team-a", 12, 34);
    eventually("stored", || ledger.stats().stored == 1);
    ledger.close().unwrap();
    let events = stored(dir.path());
    let event = &events[0];
    assert_eq!((event.id.as_str(), event.kind), (id.to_string().as_str(), EventType::Usage));
    assert_eq!(event.source, ledger.source());
    assert!(event.source.starts_with("//tokenweir/"));
    assert_eq!((event.subject.as_str(), event.partitionkey.as_str()), ("team-a", "team-a"));
    assert_eq!(event.sequence.as_deref(), Some("00000000000000000001"));
    assert_eq!(event.traceparent.as_deref(), usage("", 0, 0).ids.traceparent.as_deref());
    let time = event.time.as_deref().unwrap();
    assert!(time.ends_with('Z') && time.len() == "2026-11-22T09:15:04.812Z".len(), "{time}");
    assert_eq!(event.data["reporter"]["instance"], ledger.boot().to_string());
    let last = events.last().unwrap();
    assert_eq!((last.kind, &last.data["final"]), (EventType::Control, &Value::Bool(true)));
    assert_eq!((last.data["accepted"].as_u64(), last.data["settled"].as_u64()), (Some(1), Some(1)));
    check_completeness(&events);
}

#[test]
fn slots_bound_the_calls_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: 2, ..options(dir.path(), true) }).unwrap();
    let unused = ledger.reserve().unwrap();
    let open = ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("a", 0, 0));
    assert!(ledger.reserve().is_none());
    drop(unused);
    open.settle(Settled { id: Uuid::nil(), time: Timestamp::now(), usage: usage("a", 1, 1) });
    // A settled call's slot is free once its event is committed.
    eventually("both slots free", || {
        let (first, second) = (ledger.reserve(), ledger.reserve());
        first.is_some() && second.is_some()
    });
    assert_eq!(ledger.stats().stored, 1);
}

#[test]
fn calls_without_a_slot_become_summaries() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: 1, ..options(dir.path(), true) }).unwrap();
    let open = ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("a", 0, 0));
    for (caller, tokens) in [("a", 5), ("a", 7), ("b", 11)] {
        assert!(ledger.reserve().is_none());
        ledger.sum(&Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage(caller, tokens, 1) });
    }
    let stats = ledger.stats();
    assert_eq!((stats.accepted, stats.open, stats.summed, stats.degraded), (4, 1, 3, true));
    open.settle(Settled { id: Uuid::nil(), time: Timestamp::now(), usage: usage("a", 100, 100) });
    ledger.close().unwrap();
    let events = stored(dir.path());
    check_completeness(&events);
    let summaries = events.iter().filter(|event| event.kind == EventType::Summary);
    let sums: HashMap<&str, (u64, u64)> = summaries
        .map(|event| {
            let of = |value: &Value| value.as_u64().unwrap();
            (event.subject.as_str(), (of(&event.data["calls"]), of(&event.data["tokens"]["input"])))
        })
        .collect();
    assert_eq!(sums, HashMap::from([("a", (2, 12)), ("b", (1, 11))]));
    let control = &events.last().unwrap().data;
    assert_eq!((control["summed"].as_u64(), &control["degraded"]), (Some(3), &Value::Bool(true)));
}

#[test]
fn control_events_come_by_the_clock_and_cover_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Duration::from_millis(40);
    let ledger =
        Ledger::open(LedgerOptions { control_interval: interval, ..options(dir.path(), false) }).unwrap();
    let controls = || stored(dir.path()).iter().filter(|event| event.kind == EventType::Control).count();
    eventually("five control events", || {
        call(&ledger, "a", 3, 4);
        controls() >= 5
    });
    ledger.close().unwrap();
    let calls = ledger.stats().settled;
    let events = stored(dir.path());
    check_completeness(&events);
    let covered: u64 = events.iter().filter_map(|event| event.data["events"].as_u64()).sum();
    assert_eq!(covered, calls);
}

#[test]
fn an_open_call_keeps_the_boot_from_ending_and_is_settled_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::now_v7();
    {
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        let open = ledger.reserve().unwrap().open(id, &usage("a", 0, 0));
        ledger.checkpoint(vec![(id, progress(77))]);
        ledger.close().unwrap();
        assert_eq!(LedgerReader::open(dir.path()).unwrap().open_calls().unwrap(), 1);
        drop(open);
    }
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    ledger.close().unwrap();
    let events = stored(dir.path());
    check_completeness(&events);
    let crashed = events.iter().find(|event| event.id == id.to_string()).unwrap();
    assert_eq!(crashed.data["stream"]["outcome"], "crashed");
    assert_eq!(crashed.data["tokens"]["output"], 77);
    let finals = events.iter().filter(|event| event.data["final"] == true).count();
    assert_eq!(finals, 2, "one for each boot");
}

/// What a checkpoint says.
fn progress(output: u64) -> Progress {
    Progress {
        tokens: Tokens { output: Some(output), ..Tokens::default() },
        stream: Stream::default(),
        request: Request { status: 200, ..Request::default() },
        ..Progress::default()
    }
}
