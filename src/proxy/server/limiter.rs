//! Limits how many connections and calls there are at once, over all threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::proxy::config::Limits;
use crate::proxy::counts::{Counts, Limit};

/// Counts connections and calls, and holds them to their limits.
#[derive(Debug)]
pub(crate) struct Limiter {
    connections: Arc<Semaphore>,
    calls: AtomicUsize,
    calls_max: usize,
    counts: Arc<Counts>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, counts: Arc<Counts>) -> Limiter {
        let connections = limits.connections.min(Semaphore::MAX_PERMITS);
        Limiter {
            connections: Arc::new(Semaphore::new(connections)),
            calls: AtomicUsize::new(0),
            calls_max: limits.in_flight,
            counts,
        }
    }

    /// Waits until there is room for a connection. It is free again when the permit is dropped.
    pub(crate) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(permit);
        }
        self.counts.met(Limit::Connections);
        Arc::clone(&self.connections).acquire_owned().await.ok() // never closed
    }

    /// Admits a call, if there is room for it.
    pub(crate) fn call(self: &Arc<Limiter>) -> Option<Permit> {
        let one_more = |calls| (calls < self.calls_max).then_some(calls + 1);
        if self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            self.counts.met(Limit::InFlight);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    /// Counts a call that has been admitted before: the tunnel that it has become.
    pub(crate) fn tunnel(self: &Arc<Limiter>) -> Permit {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(self))
    }
}

/// A call that was admitted. Its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Limiter>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_calls_than_may_be_and_each_gives_its_place_back() {
        let limits = Limits { in_flight: 3, ..Limits::default() };
        let counts = Arc::new(Counts::default());
        let limiter = Arc::new(Limiter::new(&limits, Arc::clone(&counts)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        let permit = limiter.call();
                        assert!(limiter.calls.load(Ordering::Relaxed) <= 3);
                        drop(permit);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(limiter.calls.load(Ordering::Relaxed), 0);
        let permits: Vec<_> = (0..3).map(|_| limiter.call().unwrap()).collect();
        let before = counts.limits().find(|(limit, _)| *limit == "in_flight").unwrap().1;
        assert!(limiter.call().is_none());
        assert_eq!(counts.limits().find(|(limit, _)| *limit == "in_flight").unwrap().1, before + 1);
        drop(permits);
        assert!(limiter.call().is_some());
    }
}
