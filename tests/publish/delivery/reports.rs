//! `drain`, `report` and `events`: what a dead instance left, and reading back.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use tokenweir::ledger::LedgerReader;
use tokenweir::publish::{KafkaConfig, Publisher};
use tokenweir::report::{
    DrainOptions, EventsOptions, GroupBy, Input, Report, ReportOptions, drain, events, report,
};
use uuid::Uuid;

use crate::rig::{Broker, Rig};
use crate::support::{PATIENCE, call, check_completeness, eventually, options, stored, usage};

/// What a process killed by -9 leaves: the files as they lie on disk, with a call still open.
fn dead_instance() -> (tempfile::TempDir, BTreeSet<String>) {
    let (alive, dead) = (Rig::new(), tempfile::tempdir().unwrap());
    let open = alive.ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("cut", 3, 0));
    alive.calls(30);
    let mut ids = alive.ids();
    ids.insert(open.id().to_string());
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(alive.dir.path().join(file), dead.path().join(file)).unwrap();
    }
    open.settle(metering::usage::Settled {
        id: Uuid::nil(),
        time: jiff::Timestamp::now(),
        usage: usage("cut", 3, 3),
    });
    (dead, ids)
}

fn drain_options(dir: &Path, config: KafkaConfig, patience: Duration) -> DrainOptions {
    DrainOptions { ledger: options(dir, true), config, patience, spool: None }
}

#[test]
fn drain_publishes_what_a_dead_instance_left_and_may_be_repeated() {
    let (broker, (dead, ids)) = (Broker::any(), dead_instance());
    let away = KafkaConfig { brokers: "127.0.0.1:1".to_owned(), ..broker.config() };
    let none = drain(&drain_options(dead.path(), away, Duration::from_millis(200)), |_| {}).unwrap();
    assert!(none.left > 31 && none.delivered == 0, "{none:?}");
    let options = drain_options(dead.path(), broker.config(), PATIENCE);
    let all = drain(&options, |_| {}).unwrap();
    assert_eq!((all.left, all.refused), (0, 0), "{all:?}");
    assert!(all.delivered > none.left, "and the drains' own control events");
    let seen = broker.reader().until(&ids);
    let cut = seen.values().find(|body| body.contains("\"subject\":\"cut\"")).unwrap();
    assert!(cut.contains("\"outcome\":\"crashed\""), "{cut}");
    assert_eq!(drain(&options, |_| {}).unwrap().left, 0);
    check_completeness(&stored(dead.path()));
}

#[test]
fn drain_keeps_off_a_ledger_in_use_and_does_not_make_one() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let used = drain(&drain_options(rig.dir.path(), broker.config(), PATIENCE), |_| {}).unwrap_err();
    assert!(used.to_string().contains(&std::process::id().to_string()), "{used}");
    let nowhere = rig.dir.path().join("nowhere");
    assert!(drain(&drain_options(&nowhere, broker.config(), PATIENCE), |_| {}).is_err());
    assert!(!nowhere.exists());
}

fn report_of(input: Input) -> Report {
    let by = vec![GroupBy::Caller, GroupBy::Model, GroupBy::Day, GroupBy::Outcome];
    report(&ReportOptions::of(input, by)).unwrap()
}

#[test]
fn a_report_from_the_topic_equals_the_report_from_the_ledger() {
    let (broker, rig) = (Broker::any(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(200);
    rig.arrives(&broker);
    let mut from_topic = report_of(Input::Topic(broker.config()));
    let from_ledger = report_of(Input::Ledger(rig.dir.path().to_owned()));
    assert_eq!(from_ledger.total.get("calls"), Some(200));
    assert_eq!(from_ledger.lines.len(), 5);
    assert_eq!(from_topic, from_ledger);
    // Everything a second time changes nothing: a new producer is not known to the broker.
    assert_eq!(publisher.stop(PATIENCE), 0);
    let again = copy_undelivered(&rig);
    drain(&drain_options(again.path(), broker.config(), PATIENCE), |_| {}).unwrap();
    from_topic = report_of(Input::Topic(broker.config()));
    assert_eq!(from_topic, from_ledger);
    let mut reader = broker.reader();
    reader.until(&rig.ids());
    eventually("repeats", || {
        reader.poll(Duration::from_millis(100));
        reader.records.len() >= 400
    });
}

/// The ledger once more, as if nothing of it had been delivered.
fn copy_undelivered(rig: &Rig) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(rig.dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let db = rusqlite::Connection::open(copy.path().join("ledger.sqlite3")).unwrap();
    let changed =
        db.execute("UPDATE state SET value = json_set(value, '$.mark', 0) WHERE name = 'log'", []).unwrap();
    assert_eq!(changed, 1);
    copy
}

#[test]
fn events_begin_where_they_are_asked_to() {
    let rig = Rig::new();
    rig.calls(5);
    let rows = LedgerReader::open(rig.dir.path()).unwrap().after(0, 10).unwrap();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    let shown = |from: Option<&str>, tail: Option<u64>| {
        let from = from.map(|time| time.parse().unwrap());
        let dir = rig.dir.path().to_owned();
        let mut out = Vec::new();
        let options = EventsOptions { dir, follow: false, refused: false, from, tail };
        events(&options, &mut out, &mut std::io::sink()).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(bodies.len(), 5);
    for (tail, expected) in [(0, &bodies[5..]), (2, &bodies[3..]), (5, &bodies[..]), (99, &bodies[..])] {
        assert_eq!(shown(None, Some(tail)), expected, "{tail}");
    }
    let time = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["time"].clone();
    let times: Vec<_> = bodies.iter().map(|body| time(body).as_str().unwrap().to_owned()).collect();
    let since = bodies.iter().zip(&times).filter(|(_, time)| **time >= times[2]).map(|(body, _)| *body);
    assert_eq!(shown(Some(&times[2]), None), since.collect::<Vec<_>>());
    assert_eq!(shown(Some("2000-01-01T00:00:00Z"), Some(1)), &bodies[4..]);
    assert_eq!(shown(Some("2999-01-01T00:00:00Z"), None), Vec::<String>::new());
}

#[test]
fn events_prints_what_is_stored_and_follows_until_its_reader_leaves() {
    let rig = Rig::new();
    rig.calls(3);
    let mut options = EventsOptions {
        dir: rig.dir.path().to_owned(),
        follow: false,
        refused: false,
        from: None,
        tail: None,
    };
    let mut out = Vec::new();
    events(&options, &mut out, &mut std::io::sink()).unwrap();
    let rows = LedgerReader::open(rig.dir.path()).unwrap().after(0, 10).unwrap();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), bodies);
    options.follow = true;
    let (reading, mut writing) = std::io::pipe().unwrap();
    let following = std::thread::spawn(move || {
        events(&options, &mut writing, &mut std::io::sink()).map_err(|e| e.to_string())
    });
    let mut lines = BufReader::new(reading).lines();
    for body in bodies {
        assert_eq!(lines.next().unwrap().unwrap(), body);
    }
    let id = call(&rig.ledger, "later", 1, 1).to_string();
    assert!(lines.next().unwrap().unwrap().contains(&id));
    drop(lines);
    call(&rig.ledger, "unseen", 1, 1);
    following.join().unwrap().unwrap();
}
