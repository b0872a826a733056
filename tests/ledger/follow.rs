//! Readers while the writer runs at full speed: none of them keeps the WAL from being cut.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::Settled;
use tokenweir::ledger::{Ledger, LedgerOptions};
use uuid::Uuid;

use crate::support::{options, usage};

/// What the WAL may take, whoever reads.
const WAL_BYTES_MAX: u64 = 64 << 20;

/// Calls handed over at once, while there are slots.
const BURST: usize = 64;

fn follow(dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["events", "--follow", "--ledger"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Reads what a process prints until it ends.
fn count_lines(child: &mut Child) -> Arc<AtomicU64> {
    let (out, lines) = (BufReader::new(child.stdout.take().unwrap()), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&lines);
    std::thread::spawn(move || {
        for _ in out.lines().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    lines
}

/// Writes as fast as slots allow while one process follows and another has stopped reading what it
/// follows. Prints and checks the largest WAL seen.
fn write_and_follow(time: Duration) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let keep = Duration::from_secs(2);
    let ledger = Ledger::open(LedgerOptions { keep, ..options(dir.path(), false) }).unwrap();
    let mut quick = follow(dir.path());
    let lines = count_lines(&mut quick);
    // Nobody reads its pipe: it stands in the middle of a line from the first 64 KiB on.
    let mut slow = follow(dir.path());
    let wal = dir.path().join("ledger.sqlite3-wal");
    let (began, mut calls, mut largest) = (Instant::now(), 0_u64, 0);
    while began.elapsed() < time {
        let slots: Vec<_> = (0..BURST).map_while(|_| ledger.reserve()).collect();
        if slots.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for slot in slots {
            let (id, usage) = (Uuid::now_v7(), usage("a", 1, 1));
            slot.open(id, &usage).settle(Settled { id, time: Timestamp::now(), usage });
            calls += 1;
        }
        largest = largest.max(fs::metadata(&wal).map_or(0, |file| file.len()));
    }
    let seen = lines.load(Ordering::Relaxed);
    for child in [&mut quick, &mut slow] {
        assert!(child.try_wait().unwrap().is_none(), "a reader ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ledger.close().unwrap();
    let size = fs::metadata(dir.path().join("ledger.sqlite3")).unwrap().len();
    println!("{time:?}: {calls} calls, {seen} lines followed, database {size} B, WAL at most {largest} B");
    assert!(largest < WAL_BYTES_MAX, "the WAL grew to {largest} bytes");
    assert!(seen > 0 && calls > 100 * time.as_secs(), "{seen} seen, {calls} calls");
}

#[test]
fn readers_do_not_keep_the_wal_from_being_cut() {
    write_and_follow(Duration::from_secs(5));
}

#[test]
fn ten_minutes_of_readers_at_full_speed() {
    if !crate::skip::long_test() {
        return;
    }
    write_and_follow(Duration::from_secs(600));
}
