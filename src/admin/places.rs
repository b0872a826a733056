//! How many connections may wait at the admin port: for their request to come, or for their reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections that have not sent their request. A probe sends it with its first packet, so by the time that
/// so many newer ones have come it has been answered long ago.
pub(super) const HEADS_MAX: usize = 64;

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
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(Arrived, AbortHandle)>);

impl Waiting {
    /// One more. If that is one too many, the oldest is closed.
    pub(super) fn add(&mut self, arrived: Arrived, task: AbortHandle) {
        self.0.retain(|(arrived, task)| !arrived.0.load(Ordering::Relaxed) && !task.is_finished());
        if self.0.len() >= HEADS_MAX {
            self.0.remove(0).1.abort();
        }
        self.0.push((arrived, task));
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
