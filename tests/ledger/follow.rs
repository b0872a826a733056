//! Readers while the writer runs at full speed: none of them keeps the WAL from being cut.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::Settled;
use tokenweir::ledger::{Ledger, LedgerOptions};
use uuid::Uuid;

use crate::support::{options, usage};

/// What the WAL may take, whoever reads: 256 KiB for each millisecond that a sync takes, as `ledger::copy_plan` says, and a
/// second on the slowest disk.
const WAL_BYTES_MAX: u64 = 256 << 20;

/// The WAL is begun anew so often, or a reader keeps it. How soon depends on the disk.
const WALS_MIN: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

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

/// A file of a WAL, looked at again and again.
struct Wal {
    path: PathBuf,
    largest: u64,
    /// Two numbers of its header, other ones in each WAL: <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
    salts: Option<[u8; 8]>,
    /// So often it was begun.
    wals: u64,
}

impl Wal {
    const SALTS_AT: u64 = 16;

    fn of(ledger: &Path) -> Self {
        Self { path: ledger.join("ledger.sqlite3-wal"), largest: 0, salts: None, wals: 0 }
    }

    fn look(&mut self) {
        self.largest = self.largest.max(fs::metadata(&self.path).map_or(0, |file| file.len()));
        let mut salts = [0; 8];
        let read = fs::File::open(&self.path).and_then(|file| file.read_exact_at(&mut salts, Self::SALTS_AT));
        if read.is_ok() && self.salts.replace(salts) != Some(salts) {
            self.wals += 1;
        }
    }
}

/// Writes as fast as slots allow while one process follows and another has stopped reading what it
/// follows. Prints and checks the largest WAL seen, and how often it was begun anew.
fn write_and_follow(time: Duration) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let keep = Duration::from_secs(2);
    let ledger = Ledger::open(LedgerOptions { keep, ..options(dir.path(), false) }).unwrap();
    let mut quick = follow(dir.path());
    let lines = count_lines(&mut quick);
    // Nobody reads its pipe: it stands in the middle of a line from the first 64 KiB on.
    let mut slow = follow(dir.path());
    let mut wal = Wal::of(dir.path());
    let (began, mut calls) = (Instant::now(), 0_u64);
    while began.elapsed() < time || wal.wals < WALS_MIN && began.elapsed() < PATIENCE {
        let slots: Vec<_> = (0..BURST).map_while(|_| ledger.reserve()).collect();
        if slots.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for slot in slots {
            let (id, usage) = (Uuid::now_v7(), usage("a", 1, 1));
            slot.open(id, &usage).settle(Settled { id, time: Timestamp::now(), usage });
            calls += 1;
        }
        wal.look();
    }
    let seen = lines.load(Ordering::Relaxed);
    for child in [&mut quick, &mut slow] {
        assert!(child.try_wait().unwrap().is_none(), "a reader ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ledger.close().unwrap();
    let size = fs::metadata(dir.path().join("ledger.sqlite3")).unwrap().len();
    let (time, Wal { largest, wals, .. }) = (began.elapsed(), wal);
    println!(
        "{time:?}: {calls} calls, {seen} lines followed, database {size} B, {wals} WALs, {largest} B at most"
    );
    assert!(largest < WAL_BYTES_MAX, "the WAL grew to {largest} bytes");
    assert!(wals >= WALS_MIN, "{wals} WALs: a reader keeps it");
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
