//! A database that is damaged while it is in use: it is given up as at a start, and what is stored next goes on with its
//! sequences.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use metering::usage::ContentControl;
use rusqlite::Connection;
use serde_json::Value;

use super::super::testing::call;
use super::CAPTURE_DATABASE;
use super::tests::{MEMORY_BYTES, Rig};
use crate::publish::EventSource;

/// Beyond the pause between two tries.
const NEXT_TRY: Duration = Duration::from_secs(2);

/// Copies the WAL, and overwrites these hundredths of the database.
fn spoil(dir: &Path, hundredths: Range<u64>) {
    let path = dir.join(CAPTURE_DATABASE);
    let db = Connection::open(&path).unwrap();
    let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    drop(db);
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(bytes * hundredths.start / 100)).unwrap();
    file.write_all(&vec![0xa5; (bytes * (hundredths.end - hundredths.start) / 100) as usize]).unwrap();
}

/// Databases that were moved aside.
fn given_up(dir: &Path) -> usize {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.contains(".corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm"))
        .count()
}

/// The last row, which is a control event: its sequence, and what it says.
fn last_control(rig: &mut Rig) -> (u64, ContentControl) {
    let event: Value = serde_json::from_str(&rig.rows().pop().unwrap().1).unwrap();
    let sequence = event["sequence"].as_str().unwrap().parse().unwrap();
    (sequence, serde_json::from_value(event["data"].clone()).unwrap())
}

#[test]
fn one_that_the_writer_finds_damaged_is_given_up_but_not_each_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
    let began = Instant::now();
    (0..10).for_each(|_| rig.append(&call(), 0, 30_000));
    rig.commit();
    let mut at = began;
    let mut tries = |rig: &mut Rig, tries: u32| {
        for _ in 0..tries {
            at += NEXT_TRY;
            rig.writer.commit(at);
        }
    };
    spoil(dir.path(), 0..100);
    rig.append(&call(), 0, 10);
    rig.writer.rollback_in_doubt();
    tries(&mut rig, 1);
    assert!(rig.stats().degraded && given_up(dir.path()) == 0, "one error costs no spool");
    tries(&mut rig, 2);
    let stats = rig.stats();
    assert_eq!((stats.degraded, stats.parts, stats.lost_parts, stats.moved_aside), (false, 11, 0, 1));
    assert_eq!((given_up(dir.path()), rig.memory.used_bytes()), (1, 0));
    // The control event covers all, so a reader knows that the first ten are missing.
    let (sequence, control) = last_control(&mut rig);
    assert_eq!((sequence, control.first_sequence, control.last_sequence), (12, Some(1), Some(11)));
    assert!(control.degraded && control.parts == 11 && rig.rows().len() == 2);
    // A disk that spoils the next one too gets no other at once.
    spoil(dir.path(), 0..100);
    rig.writer.rollback_in_doubt();
    tries(&mut rig, 5);
    assert!(rig.stats().degraded && given_up(dir.path()) == 1);
    tries(&mut rig, 30);
    assert!(!rig.stats().degraded && given_up(dir.path()) == 2);
}

#[test]
fn one_that_the_reader_finds_damaged_is_given_up_and_no_side_gets_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
    let calls: Vec<_> = (0..20).map(|_| call()).collect();
    calls.iter().for_each(|call| rig.append(call, 0, 60_000));
    rig.commit();
    spoil(dir.path(), 40..60);
    // The rows that stand before the damage are read.
    let before = rig.rows().len() as u64;
    assert!((1..20).contains(&before), "{before}");
    let read = |rig: &mut Rig| rig.source.after(before, usize::MAX >> 1, usize::MAX);
    read(&mut rig).unwrap_err();
    rig.commit();
    assert_eq!(given_up(dir.path()), 0, "one error costs no spool");
    read(&mut rig).unwrap_err();
    rig.source.mark_delivered(before);
    rig.commit();
    assert_eq!((given_up(dir.path()), rig.stats().degraded), (1, false));
    let (sequence, control) = last_control(&mut rig);
    assert_eq!((sequence, control.parts, control.degraded), (21, 20, true));
    // A side goes on whose parts are all delivered, and one that has lost some does not.
    calls.iter().for_each(|call| rig.append(call, 1, 10));
    rig.append(&call(), 0, 10);
    rig.commit();
    let stats = rig.stats();
    assert_eq!((stats.parts, stats.lost_parts), (20 + before + 1, 20 - before));
    let rows = read(&mut rig).unwrap();
    assert_eq!(rows.len() as u64, 1 + before + 1);
    assert_eq!(rows.first().map(|row| row.position), Some(21), "positions are not used again");
}
