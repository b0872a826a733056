//! How many connections may wait at the admin port: for their request to come, or for their reader.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections that have not sent their request, at most. A probe sends it with its first packet, so by the time that
/// so many newer ones have come it has been answered long ago, unless its packet is late; ..
pub(super) const HEADS_MAX: usize = 512;

/// .. and at most where file descriptors are few, ..
const HEADS_MIN: usize = 32;

/// .. which is where this part of them is less than the most.
const FILES_PER_HEAD: u64 = 16;

/// How many may wait where the process may have so many file descriptors; `None`: any number.
pub fn heads(files: Option<u64>) -> usize {
    let share = files.and_then(|files| usize::try_from(files / FILES_PER_HEAD).ok());
    share.unwrap_or(HEADS_MAX).clamp(HEADS_MIN, HEADS_MAX)
}

/// Scrapes at once. A pair of Prometheus servers and somebody with curl are three.
pub(super) const SCRAPES_MAX: usize = 8;

/// Whether the request of a connection has come. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrived(Arc<AtomicBool>);

impl Arrived {
    pub(super) fn has_asked(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections that have not asked yet, the oldest first.
#[derive(Debug)]
pub(super) struct Waiting {
    all: Vec<Head>,
    max: usize,
}

/// A connection that has not asked yet.
#[derive(Debug)]
struct Head {
    from: IpAddr,
    arrived: Arrived,
    task: AbortHandle,
}

impl Waiting {
    pub(super) fn new(max: usize) -> Waiting {
        Waiting { all: Vec::new(), max }
    }

    /// One more. If that is one too many, the oldest is closed of the address that has the most: whoever floods the
    /// port pushes out its own.
    pub(super) fn add(&mut self, from: IpAddr, arrived: Arrived, task: AbortHandle) {
        if self.all.len() >= self.max {
            self.all.retain(|head| !head.arrived.0.load(Ordering::Relaxed) && !head.task.is_finished());
        }
        if self.all.len() >= self.max {
            let mut counts: HashMap<IpAddr, usize> = HashMap::new();
            self.all.iter().for_each(|head| *counts.entry(head.from).or_default() += 1);
            let most = counts.values().max().copied();
            let oldest = self.all.iter().position(|head| counts.get(&head.from).copied() == most);
            if let Some(oldest) = oldest {
                self.all.remove(oldest).task.abort();
            }
        }
        self.all.push(Head { from, arrived, task });
    }
}

/// Places of those who want the metrics.
#[derive(Clone, Debug)]
pub(super) struct Scrapes(Arc<Semaphore>);

impl Default for Scrapes {
    fn default() -> Scrapes {
        Scrapes(Arc::new(Semaphore::new(SCRAPES_MAX)))
    }
}

impl Scrapes {
    /// A place, if one is free.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn whoever_floods_the_port_pushes_out_its_own() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut waiting = Waiting::new(4);
            let task = || tokio::spawn(std::future::pending::<()>());
            let mut open = Vec::new();
            for (last, asked) in [(9, false), (1, false), (1, true), (1, false), (2, false)] {
                let (task, arrived) = (task(), Arrived::default());
                waiting.add(ip(last), arrived.clone(), task.abort_handle());
                if asked {
                    arrived.has_asked();
                }
                open.push(task);
            }
            let ended = async |open: &[tokio::task::JoinHandle<()>]| {
                tokio::task::yield_now().await;
                open.iter().map(|task| task.is_finished()).collect::<Vec<_>>()
            };
            // The one that has asked made room.
            assert_eq!(ended(&open).await, [false; 5]);
            for _ in 0..3 {
                let task = task();
                waiting.add(ip(1), Arrived::default(), task.abort_handle());
                open.push(task);
            }
            // The oldest of the address that has the most, each time: never the probe, though it is older.
            assert_eq!(ended(&open).await, [false, true, false, true, false, true, false, false]);
            assert_eq!(waiting.all.len(), 4);
        });
    }

    #[test]
    fn few_descriptors_leave_few_places() {
        let of = [Some(0), Some(256), Some(1_024), Some(20_000), None].map(heads);
        assert_eq!(of, [HEADS_MIN, HEADS_MIN, 64, HEADS_MAX, HEADS_MAX]);
    }
}
