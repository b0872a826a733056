//! Figures.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::Settled;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use uuid::Uuid;

use crate::progress;
use crate::support::process::resident_bytes;
use crate::support::{options, usage};

/// Nanoseconds that a thread of this process spent on a CPU.
fn thread_cpu_ns(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of = |task: &Path, file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let ours = tasks.map(|task| task.path()).filter(|task| of(task, "comm").trim() == name);
    ours.filter_map(|task| of(&task, "schedstat").split(' ').next()?.parse::<u64>().ok()).sum()
}

/// The same of both threads of the ledger.
fn ledger_cpu_ns() -> u64 {
    thread_cpu_ns("tw-ledger") + thread_cpu_ns("tw-sync")
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// For how long each window is watched.
const WATCHED: Duration = Duration::from_secs(40);

/// Figures, not a test: `cargo test --release --test ledger -- --ignored --nocapture cost`.
#[test]
#[ignore = "prints figures and takes a while"]
fn cost_per_call() {
    let only = std::env::var("TOKENWEIR_COST").unwrap_or_default();
    for (per_second, life, seconds) in
        [(2_000, 0, 10), (2_000, 2_000, 10), (200, 2_000, 10), (10_000, 0, 10), (20_000, 0, 30)]
    {
        if !only.is_empty() && only != format!("{per_second}/{life}") {
            continue;
        }
        cost(per_second, Duration::from_millis(life), Duration::from_secs(seconds));
    }
    if only.is_empty() || only == "open" {
        for calls in [500, 2_000, 5_000] {
            open_calls(calls, checkpoint_interval(calls), Duration::from_secs(10));
        }
    }
}

/// Prints the cost of keeping calls open that all change in each interval.
fn open_calls(calls: usize, every: Duration, time: Duration) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: calls, ..options(dir.path(), false) }).unwrap();
    let draft = usage("team-a", 100, 100);
    let open = |_| ledger.reserve().unwrap().open(Uuid::now_v7(), &draft);
    let open: Vec<_> = (0..calls).map(open).collect();
    std::thread::sleep(Duration::from_secs(1));
    let (began, cpu, disk) = (Instant::now(), ledger_cpu_ns(), written_bytes());
    for round in 1.. {
        ledger.checkpoint(open.iter().map(|call| (call.id(), progress(5 * round))).collect());
        std::thread::sleep(
            (began + every * u32::try_from(round).unwrap()).saturating_duration_since(Instant::now()),
        );
        if began.elapsed() >= time {
            break;
        }
    }
    let (share, disk) = ((ledger_cpu_ns() - cpu) as f64, (written_bytes() - disk) as f64);
    println!(
        "{calls} open calls checkpointed every {every:?}: {:.1} % of a core, {:.1} MB/s written",
        100.0 * share / began.elapsed().as_nanos() as f64,
        disk / 1e6 / began.elapsed().as_secs_f64()
    );
    for call in open {
        let settled = Settled { id: call.id(), time: Timestamp::now(), usage: usage("team-a", 100, 100) };
        call.settle(settled);
    }
    ledger.close().unwrap();
}

/// As `tee` does it up to 2,000 calls, and in proportion beyond.
fn checkpoint_interval(calls: usize) -> Duration {
    Duration::from_millis(225 * calls.max(2_000) as u64 / 2_000)
}

fn cost(per_second: u32, life: Duration, time: Duration) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: 50_000, ..options(dir.path(), false) }).unwrap();
    let (sender, commits) = std::sync::mpsc::channel();
    ledger.on_commit(move |took| sender.send(took).unwrap_or_default());
    let (began, cpu, disk) = (Instant::now(), ledger_cpu_ns(), written_bytes());
    let mut open = std::collections::VecDeque::new();
    let mut checkpoint_at = began;
    let (mut calls, mut half) = (0_u32, None);
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u32;
        while calls < due {
            let id = Uuid::now_v7();
            let draft = usage("team-a", 100, 100);
            open.push_back((Instant::now(), ledger.reserve().unwrap().open(id, &draft)));
            calls += 1;
        }
        while open.front().is_some_and(|(since, _)| since.elapsed() >= life) {
            let (_, call) = open.pop_front().unwrap();
            let settled = Settled { id: call.id(), time: Timestamp::now(), usage: usage("team-a", 100, 100) };
            call.settle(settled);
        }
        if checkpoint_at.elapsed() > checkpoint_interval(open.len()) {
            checkpoint_at = Instant::now();
            ledger.checkpoint(open.iter().map(|(_, call)| (call.id(), progress(5))).collect());
        }
        if half.is_none() && began.elapsed() >= time / 2 {
            half = Some(resident_bytes());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let grown = resident_bytes().saturating_sub(half.unwrap_or_default()) >> 10;
    let (cpu, disk) = (ledger_cpu_ns() - cpu, written_bytes() - disk);
    for (_, call) in open {
        let settled = Settled { id: call.id(), time: Timestamp::now(), usage: usage("team-a", 100, 100) };
        call.settle(settled);
    }
    ledger.close().unwrap();
    let mut commits: Vec<Duration> = commits.try_iter().collect();
    commits.sort_unstable();
    let size = LedgerReader::open(dir.path()).unwrap().after(0, 1).unwrap()[0].body.len();
    println!(
        "{per_second}/s, life {life:?}: {:.1} us CPU per call, {:.1} x event size ({size} B) written, commit p50 {:?} p99 {:?}, \
         memory grown by {grown} KiB in the second half",
        cpu as f64 / 1e3 / f64::from(calls),
        disk as f64 / f64::from(calls) / size as f64,
        commits[commits.len() / 2],
        commits[commits.len() * 99 / 100],
    );
}

/// Waits for a mark to be beyond a position; returns where it is.
type Wait = fn(&Ledger, u64, Duration) -> u64;

/// Handed over until stored: what the death of the process can cost; and until synced: what a loss of power can.
/// `docs/guarantees.md` states these figures.
///
/// One thread hands over, so the n-th event stored is the n-th call settled. 4 ms of it are the time in which a
/// transaction gathers.
#[test]
fn loss_window() {
    if !crate::skip::long_test() {
        return;
    }
    let marks: [(&str, Wait); 2] = [("stored", Ledger::wait_stored), ("synced", Ledger::wait_synced)];
    for (per_second, (mark, wait)) in [100, 2_000].into_iter().flat_map(|n| marks.map(|mark| (n, mark))) {
        let mut waits = handed_until(per_second, WATCHED, wait);
        waits.sort_unstable();
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
        println!(
            "{per_second} calls/s: {} calls, handed over until {mark} p50 {:.1?} p99 {:.1?} p99.9 {:.1?} max {:.1?}",
            waits.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

fn handed_until(per_second: u32, time: Duration, wait: Wait) -> Vec<Duration> {
    // On a disk: in memory a sync costs nothing.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: 50_000, ..options(dir.path(), false) }).unwrap();
    let total = (f64::from(per_second) * time.as_secs_f64()) as u64;
    let watcher = {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            let (mut reached, mut last) = (Vec::new(), 0);
            while last < total {
                last = wait(&ledger, last, Duration::from_secs(60));
                reached.resize(last as usize, Instant::now());
            }
            reached
        })
    };
    let (began, mut handed) = (Instant::now(), Vec::new());
    while (handed.len() as u64) < total {
        let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        while (handed.len() as u64) < due.min(total) {
            handed.push(Instant::now());
            crate::support::call(&ledger, "team-a", 100, 100);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let reached = watcher.join().unwrap();
    ledger.close().unwrap();
    handed.iter().zip(reached).map(|(handed, reached)| reached.duration_since(*handed)).collect()
}
