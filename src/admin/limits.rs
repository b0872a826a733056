//! How many connections may wait at the admin port: for their request to come, or for their reader.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections that have not sent their request, at most. A probe sends it with its first packet, so by the time that
/// so many newer ones have come it has been answered long ago, unless its packet is late.
pub(super) const PENDING_MAX: usize = 512;

/// The same where file descriptors are few.
const PENDING_MIN: usize = 32;

/// Where the process may have fewer file descriptors than this times [`PENDING_MAX`], connections get this part of
/// them.
const FILES_PER_PENDING: u64 = 16;

/// How many connections may wait to send their request where the process may have so many file descriptors;
/// `None`: any number.
pub fn pending_max(files: Option<u64>) -> usize {
    let share = files.and_then(|files| usize::try_from(files / FILES_PER_PENDING).ok());
    share.unwrap_or(PENDING_MAX).clamp(PENDING_MIN, PENDING_MAX)
}

/// Scrapes at once. A pair of Prometheus servers and an operator with curl are three.
pub(super) const SCRAPES_MAX: usize = 8;

/// Whether the request of a connection has come. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestReceived(Arc<AtomicBool>);

impl RequestReceived {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections that have not sent their request yet, the oldest first.
#[derive(Debug)]
pub(super) struct PendingConnections {
    all: Vec<PendingConnection>,
    max: usize,
}

#[derive(Debug)]
struct PendingConnection {
    from: IpAddr,
    received: RequestReceived,
    task: AbortHandle,
}

impl PendingConnections {
    pub(super) fn new(max: usize) -> PendingConnections {
        PendingConnections { all: Vec::new(), max }
    }

    /// Adds a connection. If that is one too many, the oldest is closed of the address that has the most: an address
    /// that floods the port pushes out its own.
    pub(super) fn add(&mut self, from: IpAddr, received: RequestReceived, task: AbortHandle) {
        if self.all.len() >= self.max {
            self.all.retain(|one| !one.received.0.load(Ordering::Relaxed) && !one.task.is_finished());
        }
        if self.all.len() >= self.max {
            let mut counts: HashMap<IpAddr, usize> = HashMap::new();
            self.all.iter().for_each(|one| *counts.entry(one.from).or_default() += 1);
            let most = counts.values().max().copied();
            let oldest = self.all.iter().position(|one| counts.get(&one.from).copied() == most);
            if let Some(oldest) = oldest {
                self.all.remove(oldest).task.abort();
            }
        }
        debug_assert!(self.all.len() < self.max || self.max == 0, "there is room for one more");
        self.all.push(PendingConnection { from, received, task });
    }
}

/// Permits for scrapes of the metrics.
#[derive(Clone, Debug)]
pub(super) struct ScrapePermits(Arc<Semaphore>);

impl Default for ScrapePermits {
    fn default() -> ScrapePermits {
        ScrapePermits(Arc::new(Semaphore::new(SCRAPES_MAX)))
    }
}

impl ScrapePermits {
    /// A permit, if one is free.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
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
            let mut pending = PendingConnections::new(4);
            let task = || tokio::spawn(std::future::pending::<()>());
            let mut open = Vec::new();
            for (last, asked) in [(9, false), (1, false), (1, true), (1, false), (2, false)] {
                let (task, received) = (task(), RequestReceived::default());
                pending.add(ip(last), received.clone(), task.abort_handle());
                if asked {
                    received.set();
                }
                open.push(task);
            }
            let ended = async |open: &[tokio::task::JoinHandle<()>]| {
                tokio::task::yield_now().await;
                open.iter().map(|task| task.is_finished()).collect::<Vec<_>>()
            };
            // The one whose request has come made room.
            assert_eq!(ended(&open).await, [false; 5]);
            for _ in 0..3 {
                let task = task();
                pending.add(ip(1), RequestReceived::default(), task.abort_handle());
                open.push(task);
            }
            // The oldest of the address that has the most, each time: never the probe, though it is older.
            assert_eq!(ended(&open).await, [false, true, false, true, false, true, false, false]);
            assert_eq!(pending.all.len(), 4);
        });
    }

    #[test]
    fn few_descriptors_leave_few_places() {
        let of = [Some(0), Some(256), Some(1_024), Some(20_000), None].map(pending_max);
        assert_eq!(of, [PENDING_MIN, PENDING_MIN, 64, PENDING_MAX, PENDING_MAX]);
    }
}
