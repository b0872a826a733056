//! Ledgers of older versions, databases that are no ledger, and copies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use metering::usage::EventType;
use rusqlite::Connection;
use tokenweir::ledger::{DATABASE, EventRow, Ledger, LedgerOptions, LedgerReader, OpenError, ReadError};
use tokenweir::report::{FindingKind, Input, VerifyOptions, verify};

use crate::script::{moved_aside, open_again};
use crate::support::{call, check_completeness, eventually, options, stored};

/// Each version there ever was; all tell of the same six events and three open calls.
const FIXTURES: &[(i64, &str)] =
    &[(1, include_str!("../../fixtures/ledger/v1.sql")), (2, include_str!("../../fixtures/ledger/v2.sql"))];

/// Calls 3, 4 and 5 of the fixtures, and what their last checkpoint says.
const OPEN: &[(&str, u64)] = &[
    ("01a20359-92af-74b9-b085-548c84cb7380", 55),
    ("01a20359-92af-74b9-b085-548fca5fbb2d", 0),
    ("01a20359-92af-74b9-b085-54920c88d9d1", 0),
];

/// The fixtures were written once, and are older each day that they are opened: how long delivered
/// events stay is said by each test here, never by the default.
const FOR_EVER: Duration = Duration::MAX;

fn lay_down(dir: &Path, sql: &str) -> Vec<(u64, String)> {
    let db = Connection::open(dir.join(DATABASE)).unwrap();
    db.execute_batch(sql).unwrap();
    let mut query = db.prepare("SELECT position, body FROM event ORDER BY position").unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn open_keeping(dir: &Path, keep: Duration) -> Ledger {
    Ledger::open(LedgerOptions { keep, ..options(dir, true) }).unwrap()
}

fn rows(dir: &Path) -> Vec<(u64, String)> {
    let rows = LedgerReader::open(dir).unwrap().after(0, usize::MAX).unwrap();
    rows.into_iter().map(|EventRow { position, body }| (position, body)).collect()
}

#[test]
fn a_ledger_of_every_version_opens_and_keeps_its_events_byte_for_byte() {
    for (version, sql) in FIXTURES {
        let dir = tempfile::tempdir().unwrap();
        let before = lay_down(dir.path(), sql);
        assert_eq!(before.len(), 6);
        // A copy may be read as it is, and nothing brings it up to date.
        assert_eq!(rows(dir.path()), before, "version {version}");
        let reader = LedgerReader::open(dir.path()).unwrap();
        assert_eq!((reader.delivered().unwrap(), reader.open_calls().unwrap()), (5, 3), "version {version}");
        drop(reader);
        let ledger = open_keeping(dir.path(), FOR_EVER);
        assert_eq!(ledger.source(), "//tokenweir/de92363a-7db0-43e7-80db-8c162c930527", "version {version}");
        assert_eq!(ledger.delivered(), 5, "the sixth is still to be delivered");
        ledger.close().unwrap();
        let after = rows(dir.path());
        assert_eq!(after[..6], before[..], "version {version}");
        let events = stored(dir.path());
        check_completeness(&events);
        for (id, output) in OPEN {
            let event = events.iter().find(|event| event.id == *id).unwrap();
            assert_eq!(event.data["stream"]["outcome"], "crashed");
            assert_eq!(event.data["tokens"]["output"].as_u64(), Some(*output), "{id}");
        }
        // Six, three crashed calls, the last control event of that boot and of this.
        assert_eq!(events.len(), 6 + OPEN.len() + 2);
        let controls: Vec<_> = events[6..].iter().filter(|event| event.kind == EventType::Control).collect();
        // The period that the older version began has rows of which it kept no digest.
        assert!(controls[0].data["events"] != 0 && controls[0].data["digest"].is_null(), "version {version}");
        assert!(controls[1].data["digest"].is_string(), "version {version}");
        assert_eq!(controls[1].data["previous_instance"], controls[0].data["instance"]);
        let verdict = verify(&VerifyOptions::new(vec![Input::Ledger(dir.path().to_owned())])).unwrap();
        let findings: Vec<_> = verdict.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(findings, [FindingKind::Refused], "version {version}: {:#?}", verdict.findings);
        assert!(verdict.no_digest > 0);
        let refused = LedgerReader::open(dir.path()).unwrap().refused(0, 10).unwrap();
        assert_eq!((refused.len(), refused[0].row.position), (1, 2));
        assert!(moved_aside(dir.path()).is_empty());
    }
}

#[test]
fn a_ledger_of_every_version_lets_go_of_what_is_delivered_and_old_and_of_nothing_else() {
    for (version, sql) in FIXTURES {
        let dir = tempfile::tempdir().unwrap();
        let before = lay_down(dir.path(), sql);
        let ledger = open_keeping(dir.path(), Duration::ZERO);
        // The second was refused and stays for whoever asks, the sixth is not delivered.
        eventually("what is delivered is gone", || rows(dir.path())[1].0 == 6);
        ledger.close().unwrap();
        let after = rows(dir.path());
        assert_eq!(after[..2], [before[1].clone(), before[5].clone()], "version {version}");
        assert_eq!(after.len(), 2 + OPEN.len() + 2, "version {version}");
    }
}

#[test]
fn a_newer_ledger_is_refused_by_writer_and_reader_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    lay_down(dir.path(), FIXTURES[0].1);
    let path = dir.path().join(DATABASE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = crate::script::refused(dir.path());
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
    let refused = LedgerReader::open(dir.path()).unwrap_err();
    assert!(matches!(refused, ReadError::Newer { found: 99, .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(moved_aside(dir.path()).is_empty());
}

#[test]
fn a_database_of_somebody_else_is_no_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DATABASE);
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1); PRAGMA user_version = 1;")
        .unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    assert!(matches!(LedgerReader::open(dir.path()).unwrap_err(), ReadError::Foreign(_)));
    open_again(dir.path()).close().unwrap();
    let moved = moved_aside(dir.path());
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!(fs::read(dir.path().join(&moved[0])).unwrap(), before, "not a byte of it changed");
}

#[test]
fn a_copied_directory_has_the_same_source_and_the_same_bytes_under_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    for n in 0..20 {
        call(&ledger, "a", n, n);
    }
    let open = ledger.reserve().unwrap().open(uuid::Uuid::now_v7(), &crate::support::usage("a", 0, 0));
    let reader = LedgerReader::open(dir.path()).unwrap();
    eventually("all is stored", || ledger.stats().stored == 20 && reader.open_calls().unwrap() == 1);
    ledger.close().unwrap();
    drop((open, reader));
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap().flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    // Both at once: the lock is the directory's, and the copy is another directory.
    let (one, two) = (open_again(dir.path()), open_again(copy.path()));
    assert_eq!(one.source(), two.source());
    assert_ne!(one.boot(), two.boot());
    one.close().unwrap();
    two.close().unwrap();
    let (one, two) = (rows(dir.path()), rows(copy.path()));
    assert_eq!(one[..20], two[..20], "what was stored is equal");
    let ids = |dir: &Path| -> BTreeSet<String> {
        let events = stored(dir).into_iter().filter(|event| event.kind == EventType::Usage);
        events.map(|event| event.id).collect()
    };
    // The call that was open is settled by each, under the one id that it has.
    assert_eq!(ids(dir.path()), ids(copy.path()));
    assert_eq!(ids(dir.path()).len(), 21);
}
