//! How long the threads through which a call goes to the ledger waited for a CPU, and ran on one: the kernel counts it.
//! What a busy or slow machine costs is so told from what the program waits for, and no verdict needs a quiet machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::sidecar::{Sidecar, wait_for};

/// The thread that stores, and those that a call passes before.
const WRITER: &str = "tw-ledger";
const PASSED: [&str; 4] = ["tw-net-0", "tw-count-0", "tw-count-1", "tw-settle"];

/// How often the waits are read.
const READ_EVERY: Duration = Duration::from_millis(5);

/// Time since the process began that threads waited for a CPU, and that they waited or ran.
#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    writer: Duration,
    writer_busy: Duration,
    all: Duration,
    all_busy: Duration,
    /// The writer was in the kernel and waited for the disk.
    blocked: bool,
}

/// The waits of a process that is dead, as they were at many moments.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    read: Vec<(Instant, Waited)>,
}

/// Reads the waits of a process that runs.
pub(crate) struct Watch {
    tasks: Vec<(PathBuf, bool)>,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Waits>,
}

impl Waits {
    /// How long the writer waited for a CPU or ran between a moment and the end.
    pub(crate) fn of_writer(&self, since: Instant) -> Duration {
        self.since(since, |waited| waited.writer_busy)
    }

    /// The same of all of the threads, added up.
    pub(crate) fn of_all(&self, since: Instant) -> Duration {
        self.since(since, |waited| waited.all_busy)
    }

    /// How long all of the threads only waited, added up.
    pub(crate) fn for_cpu(&self, since: Instant) -> Duration {
        self.since(since, |waited| waited.all)
    }

    fn since(&self, since: Instant, of: fn(&Waited) -> Duration) -> Duration {
        let before =
            self.read.iter().rev().find(|(at, _)| *at <= since).map_or(Duration::ZERO, |(_, w)| of(w));
        self.read.last().map_or(Duration::ZERO, |(_, waited)| of(waited)).saturating_sub(before)
    }

    /// How long the writer waited for the disk itself, in a call to the kernel that is no sync of ours.
    pub(crate) fn for_disk(&self, since: Instant) -> Duration {
        let pairs = self.read.windows(2).filter(|pair| pair[0].0 >= since && pair[0].1.blocked);
        pairs.map(|pair| pair[1].0 - pair[0].0).sum()
    }

    /// The longest wait of the writer between two reads.
    pub(crate) fn longest(&self) -> Duration {
        let pairs = self.read.windows(2).map(|pair| pair[1].1.writer.saturating_sub(pair[0].1.writer));
        pairs.max().unwrap_or_default()
    }
}

impl Watch {
    pub(crate) fn begin(sidecar: &Sidecar) -> Watch {
        // A thread gives itself its name, once it has got a CPU.
        let tasks = wait_for("threads to have their names", || {
            let tasks = tasks(sidecar.pid());
            (tasks.len() > PASSED.len()).then_some(tasks)
        });
        let stop = Arc::<AtomicBool>::default();
        let (watched, until) = (tasks.clone(), Arc::clone(&stop));
        let reader = std::thread::spawn(move || {
            let mut waits = Waits::default();
            while !until.load(Ordering::SeqCst) {
                waits.read.push((Instant::now(), waited(&watched)));
                std::thread::sleep(READ_EVERY);
            }
            waits
        });
        Watch { tasks, stop, reader }
    }

    /// kill -9, of a process that was stopped just before: a thread that waits for a CPU gets it to be stopped, and only
    /// then the wait is counted. Returns the moments between which it stopped, and the waits.
    pub(crate) fn kill(self, sidecar: &Sidecar) -> (Instant, Instant, Waits) {
        let pid = Pid::from_raw(i32::try_from(sidecar.pid()).unwrap()).unwrap();
        let before = Instant::now();
        kill_process(pid, Signal::STOP).unwrap();
        wait_for("it to stop", || self.tasks.iter().all(|(task, _)| is_stopped(task)).then_some(()));
        let after = Instant::now();
        self.stop.store(true, Ordering::SeqCst);
        let mut waits = self.reader.join().unwrap();
        waits.read.push((after, waited(&self.tasks)));
        sidecar.kill();
        (before, after, waits)
    }
}

/// The threads to watch, and which of them is the writer.
fn tasks(pid: u32) -> Vec<(PathBuf, bool)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let name = name.trim();
        (name == WRITER || PASSED.contains(&name)).then(|| (task, name == WRITER))
    });
    named.collect()
}

fn is_stopped(task: &Path) -> bool {
    state(task) == Some('T')
}

/// What a thread does.
fn state(task: &Path) -> Option<char> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name, in brackets, may hold anything.
    stat.rsplit(") ").next()?.chars().next()
}

/// `schedstat`: time on a CPU, time waiting for one, in nanoseconds.
fn waited(tasks: &[(PathBuf, bool)]) -> Waited {
    let mut sum = Waited::default();
    for (task, writer) in tasks {
        let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let mut times = text.split(' ').map(|ns| Duration::from_nanos(ns.parse().unwrap_or(0)));
        let (ran, waited) = (times.next().unwrap_or_default(), times.next().unwrap_or_default());
        sum.all += waited;
        sum.all_busy += waited + ran;
        if *writer {
            sum.blocked = state(task) == Some('D');
            sum.writer += waited;
            sum.writer_busy += waited + ran;
        }
    }
    sum
}
