//! Databases that are damaged: moved aside loudly, or read as far as they are valid; never a panic,
//! never a hang, and never taken for damaged because of a disk that fails.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;

use metering::usage::{CloudEvent, EventType};
use rusqlite::Connection;
use serde_json::Value;
use tokenweir::ledger::{DATABASE, Ledger, LedgerOptions, LedgerReader, OpenError};
use uuid::Uuid;

use crate::disk::{Fault, Kind, Op, Rig};
use crate::script::{moved_aside, open_again, refused, try_open, try_open_with};
use crate::support::random::Random;
use crate::support::{PATIENCE, call, eventually, options, stored, usage};

/// Usage events in the ledgers that are damaged here.
const CALLS: u64 = 60;

/// Bytes of a page.
const PAGE: usize = 8_192;

/// Ways to damage a ledger tried one after another.
const DAMAGES: usize = 240;

/// A ledger of some pages, closed, half delivered.
fn healthy(dir: &Path) -> String {
    let ledger = Ledger::open(options(dir, true)).unwrap();
    for n in 0..CALLS {
        call(&ledger, "a", n, n);
    }
    eventually("stored", || ledger.stats().stored == CALLS);
    ledger.mark_delivered(CALLS / 2);
    ledger.close().unwrap();
    ledger.source().to_owned()
}

fn sql(dir: &Path, text: &str) {
    Connection::open(dir.join(DATABASE)).unwrap().execute_batch(text).unwrap();
}

/// Changes the bytes of a file.
fn bytes(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

/// What a damage is called, and how it is done to a directory.
type Damage = (&'static str, fn(&Path));

const DAMAGED: &[Damage] = &[
    ("the header", |dir| bytes(&dir.join(DATABASE), |file| file[..16].fill(b'x'))),
    ("no database at all", |dir| fs::write(dir.join(DATABASE), "hello, world\n".repeat(1_000)).unwrap()),
    ("cut in the middle", |dir| bytes(&dir.join(DATABASE), |file| file.truncate(file.len() / 2))),
    ("cut by a page", |dir| bytes(&dir.join(DATABASE), |file| file.truncate(file.len() - PAGE))),
    ("the schema's page", |dir| bytes(&dir.join(DATABASE), |file| file[100..PAGE].fill(0))),
    ("all but the first page", |dir| bytes(&dir.join(DATABASE), |file| file[PAGE..].fill(0))),
    ("the last page", |dir| {
        bytes(&dir.join(DATABASE), |file| {
            let last = file.len() - PAGE;
            file[last..].fill(0xff);
        });
    }),
    ("somebody else's", |dir| sql(dir, "PRAGMA application_id = 17")),
    ("an impossible version", |dir| sql(dir, "PRAGMA user_version = -3")),
    ("a table is gone", |dir| sql(dir, "DROP TABLE progress")),
    ("a column is gone", |dir| sql(dir, "ALTER TABLE event RENAME COLUMN call TO ring")),
    ("no ledger id", |dir| sql(dir, "DELETE FROM state WHERE name = 'ledger'")),
    ("a log that is no JSON", |dir| sql(dir, "UPDATE state SET value = 'x' WHERE name = 'log'")),
    ("a mark beyond the end", |dir| {
        sql(dir, "UPDATE state SET value = json_set(value, '$.mark', 9999) WHERE name = 'log'");
    }),
    ("an end beyond the events", |dir| {
        sql(dir, "UPDATE state SET value = json_set(value, '$.last', 9999) WHERE name = 'log'");
    }),
    ("an end before the events", |dir| {
        sql(dir, "UPDATE state SET value = json_set(value, '$.last', 40) WHERE name = 'log'");
    }),
    ("a hole behind the mark", |dir| sql(dir, "DELETE FROM event WHERE position = 45")),
    ("an event that is no JSON", |dir| sql(dir, "UPDATE event SET body = 'x' WHERE position = 50")),
];

#[test]
fn a_damaged_ledger_is_moved_aside_and_a_new_one_begun_that_says_so() {
    for (which, damage) in DAMAGED {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let old = healthy(dir.path());
        damage(dir.path());
        let content = fs::read(dir.path().join(DATABASE)).unwrap();
        let ledger = open_again(dir.path());
        assert_ne!(ledger.source(), old, "{which}: a new ledger has a new name");
        assert_eq!(ledger.stats().moved_aside, 1, "{which}");
        call(&ledger, "a", 1, 2);
        ledger.close().unwrap();
        let moved = moved_aside(dir.path());
        let main =
            moved.iter().find(|name| name.ends_with('Z')).unwrap_or_else(|| panic!("{which}: {moved:?}"));
        // SQLite may have copied a WAL into it, or set a bit in the header; the rest is as it was.
        let kept = fs::read(dir.path().join(main)).unwrap();
        assert_eq!(kept.len(), content.len(), "{which}");
        let controls = |dir: &Path| -> Vec<bool> {
            let events = stored(dir).into_iter().filter(|event| event.kind == EventType::Control);
            events.map(|event| event.data["degraded"].as_bool().unwrap()).collect()
        };
        assert_eq!(controls(dir.path()), [true], "{which}");
        // It is whole: nothing is moved again, and the next boot is not degraded.
        open_again(dir.path()).close().unwrap();
        assert_eq!((moved_aside(dir.path()), controls(dir.path())), (moved, vec![true, false]), "{which}");
    }
}

#[test]
fn what_can_still_be_read_of_a_ledger_moved_aside_can_be_read_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let old = healthy(dir.path());
    // One byte of a number in the header, which sqlite3 or an editor can set right.
    sql(dir.path(), "PRAGMA user_version = -1");
    open_again(dir.path()).close().unwrap();
    let moved = moved_aside(dir.path());
    let again = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join(&moved[0]), again.path().join(DATABASE)).unwrap();
    sql(again.path(), "PRAGMA user_version = 2");
    let events = stored(again.path());
    assert_eq!(events.iter().filter(|event| event.kind == EventType::Usage).count() as u64, CALLS);
    let ledger = open_again(again.path());
    assert_eq!((ledger.source(), ledger.delivered()), (old.as_str(), CALLS / 2));
}

#[test]
fn a_wal_without_its_database_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    healthy(dir.path());
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    fs::write(dir.path().join("ledger.sqlite3-wal"), "what a crash left between two renames").unwrap();
    open_again(dir.path()).close().unwrap();
    let moved = moved_aside(dir.path());
    assert!(moved.len() == 1 && moved[0].ends_with("Z-wal"), "{moved:?}");
    let events = stored(dir.path());
    assert_eq!(events.last().unwrap().data["degraded"], true);
}

#[test]
fn a_disk_that_fails_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(dir.path());
    let old = healthy(dir.path());
    let always = |op, kind| Fault { from: 0, times: u64::MAX, op: Some(op), file: "", kind };
    let failing = [
        ("full", always(Op::Write, Kind::Full)),
        ("writes fail", always(Op::Write, Kind::Error)),
        ("syncs fail", always(Op::Sync, Kind::Error)),
    ];
    for (which, fault) in failing {
        rig.fail(&[fault]);
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::Database { .. }), "{which}: {error}");
    }
    rig.heal();
    rig.fail_reads(true);
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Database { .. }), "reads fail: {error}");
    rig.fail_reads(false);
    assert!(moved_aside(dir.path()).is_empty());
    assert_eq!(open_again(dir.path()).source(), old);
    // Something else under the name of the database.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(DATABASE)).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(moved_aside(dir.path()).is_empty());
}

/// What a start reads does not grow with what is stored.
#[test]
fn a_start_reads_no_more_of_a_larger_ledger() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let rig = Rig::new(dir.path());
    let mut read = Vec::new();
    for thousand in [20_u64, 60] {
        let ledger = try_open_with(&LedgerOptions { slots: 60_000, ..options(dir.path(), true) }).unwrap();
        while ledger.stats().undelivered < thousand * 1_000 {
            let now = ledger.stats().accepted;
            for _ in 0..4_000 {
                call(&ledger, "a", 1, 1);
            }
            eventually("stored", || ledger.stats().stored >= now + 4_000);
        }
        ledger.close().unwrap();
        let before = rig.read_bytes();
        open_again(dir.path()).close().unwrap();
        read.push(rig.read_bytes() - before);
    }
    let size = fs::metadata(dir.path().join(DATABASE)).unwrap().len();
    println!("{size} bytes stored; a start and an end read {read:?} bytes");
    assert!(read[1] < read[0] * 5 / 4 + 1_000_000 && read[1] < size / 2, "{read:?} of {size}");
}

/// A ledger as a process that was killed leaves it: most of it in the WAL.
fn killed(dir: &Path) -> HashMap<String, String> {
    let live = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(live.path(), true)).unwrap();
    for n in 0..CALLS {
        call(&ledger, "a", n, n);
        if n % 20 == 0 {
            eventually("stored", || ledger.stats().stored > n);
        }
    }
    eventually("stored", || ledger.stats().stored == CALLS);
    let open = ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("a", 0, 0));
    let reader = LedgerReader::open(live.path()).unwrap();
    eventually("open", || reader.open_calls().unwrap() == 1);
    for name in [DATABASE, "ledger.sqlite3-wal"] {
        fs::copy(live.path().join(name), dir.join(name)).unwrap();
    }
    let rows = reader.after(0, usize::MAX).unwrap();
    drop(open);
    let events = rows
        .into_iter()
        .map(|row| (serde_json::from_str::<CloudEvent<Value>>(&row.body).unwrap().id, row.body));
    events.collect()
}

/// Damages a file in one of many ways, and says how.
fn damage(path: &Path, random: &mut Random) -> String {
    let mut how = String::new();
    bytes(path, |file| {
        let at = random.below(file.len());
        how = match random.below(8) {
            0 => {
                file.truncate(at);
                format!("cut at {at}")
            }
            1 => {
                let end = file.len().min(at + 1 + random.below(PAGE));
                file[at..end].fill(0);
                format!("zeros from {at} to {end}")
            }
            2 => {
                let from = random.below(file.len() / PAGE) * PAGE;
                let to = random.below(file.len() / PAGE) * PAGE;
                let page = file[from..from + PAGE].to_vec();
                file[to..to + PAGE].copy_from_slice(&page);
                format!("page at {from} also at {to}")
            }
            _ => {
                file[at] ^= 1 << random.below(8);
                format!("a bit at {at}")
            }
        };
    });
    how
}

#[test]
fn any_damage_is_either_read_past_or_moved_aside_and_never_a_panic_or_a_hang() {
    let base = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let known = killed(base.path());
    let in_wal = tempfile::tempdir_in(base.path().parent().unwrap()).unwrap();
    let in_database = tempfile::tempdir_in(base.path().parent().unwrap()).unwrap();
    for dir in [&in_wal, &in_database] {
        for name in [DATABASE, "ledger.sqlite3-wal"] {
            fs::copy(base.path().join(name), dir.path().join(name)).unwrap();
        }
    }
    // The same once more, with everything in the database itself.
    drop(Connection::open(in_database.path().join(DATABASE)).unwrap().query_row(
        "PRAGMA wal_checkpoint(TRUNCATE)",
        [],
        |_| Ok(()),
    ));
    let (sender, receiver) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let (mut random, mut aside) = (Random::seeded(19), 0);
        for n in 0..DAMAGES {
            let (from, file) = match n % 3 {
                0 => (&in_wal, "ledger.sqlite3-wal"),
                1 => (&in_database, DATABASE),
                _ => (&in_wal, DATABASE),
            };
            let dir = tempfile::tempdir_in(from.path().parent().unwrap()).unwrap();
            for entry in fs::read_dir(from.path()).unwrap().flatten() {
                fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
            let how = format!("{file}: {}", damage(&dir.path().join(file), &mut random));
            aside += u32::from(survives(dir.path(), &known, &how));
            sender.send(()).unwrap();
        }
        aside
    });
    let mut done = 0;
    while receiver.recv_timeout(PATIENCE).is_ok() {
        done += 1;
    }
    assert!(worker.is_finished() || done == DAMAGES, "damage number {done} hangs");
    let aside = worker.join().unwrap();
    println!("{DAMAGES} damages, {aside} moved aside");
    assert!(aside > 10 && aside < DAMAGES as u32);
}

/// A ledger opens on what is there, takes a call, and its events are those that were stored, or
/// differ in what was damaged. Returns whether the database was moved aside.
fn survives(dir: &Path, known: &HashMap<String, String>, how: &str) -> bool {
    let ledger = match try_open(dir) {
        Ok(ledger) => ledger,
        // A version number that became larger.
        Err(OpenError::Newer { .. }) => return false,
        Err(error) => panic!("{how}: {error}"),
    };
    let id = call(&ledger, "a", 1, 2).to_string();
    if let Err(error) = ledger.close() {
        panic!("{how}: {error}");
    }
    let aside = !moved_aside(dir).is_empty();
    let reader = LedgerReader::open(dir).unwrap();
    // A page in the middle may be unreadable; what comes before it is not.
    let mut found = false;
    for row in (1..).map(|position| reader.at(position)).take(2 * CALLS as usize) {
        let Ok(Some(row)) = row else { continue };
        let Ok(event) = serde_json::from_str::<CloudEvent<Value>>(&row.body) else { continue };
        found |= event.id == id;
        if let Some(body) = known.get(&event.id).filter(|_| event.data["stream"]["outcome"] == "complete") {
            let differs = body.bytes().zip(row.body.bytes()).filter(|(a, b)| a != b).count();
            assert!(differs <= 1 && body.len() == row.body.len(), "{how}: {}", row.body);
        }
    }
    assert!(found, "{how}: the new call is not there");
    aside
}
