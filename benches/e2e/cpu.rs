//! What a process and its children cost: their time on the CPU in ns, all threads, and tokenweir's
//! network threads alone; their memory. All of it from `/proc`, so Linux only.

use std::fs;
use std::ops::Sub;

/// The names of tokenweir's network threads begin so.
const NETWORK_THREAD: &str = "tw-net-";

/// The kernel's unit of time in `/proc/stat` (`man 5 proc`, USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// A process and its descendants.
pub(crate) struct Process {
    pids: Vec<u32>,
}

/// Time on the CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunTime {
    pub(crate) all_ns: u64,
    pub(crate) network_ns: u64,
}

impl Sub for RunTime {
    type Output = RunTime;

    fn sub(self, other: RunTime) -> RunTime {
        RunTime {
            all_ns: self.all_ns.saturating_sub(other.all_ns),
            network_ns: self.network_ns.saturating_sub(other.network_ns),
        }
    }
}

impl Process {
    /// No process: its time and memory are nothing.
    pub(crate) fn none() -> Process {
        Process { pids: Vec::new() }
    }

    pub(crate) fn own() -> Process {
        Process { pids: vec![std::process::id()] }
    }

    /// With the descendants that it has now.
    pub(crate) fn tree(root: u32) -> Process {
        let parents: Vec<(u32, u32)> = numbers("/proc").filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(&of) = pids.get(next) {
            pids.extend(parents.iter().filter(|&&(_, parent)| parent == of).map(|&(pid, _)| pid));
            next += 1;
        }
        Process { pids }
    }

    pub(crate) fn run_time(&self) -> RunTime {
        let mut sum = RunTime::default();
        for pid in &self.pids {
            for task in numbers(&format!("/proc/{pid}/task")) {
                let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{task}/{file}"));
                let time =
                    read("schedstat").ok().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
                let (time, name) = (time.unwrap_or_default(), read("comm").unwrap_or_default());
                sum.all_ns += time;
                sum.network_ns += if name.starts_with(NETWORK_THREAD) { time } else { 0 };
            }
        }
        sum
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let resident = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
        };
        self.pids.iter().filter_map(resident).sum()
    }
}

/// The names in a directory that are numbers.
fn numbers(dir: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(1)?.parse().ok()
}

/// Time that all processors of the machine were busy.
pub(crate) struct Machine {
    pub(crate) busy_s: f64,
}

impl Machine {
    pub(crate) fn now() -> Machine {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
        let busy = ticks.iter().take(8).sum::<f64>() - ticks.iter().skip(3).take(2).sum::<f64>();
        Machine { busy_s: busy / TICKS_PER_S }
    }
}
