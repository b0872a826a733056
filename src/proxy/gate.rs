//! How many connections and calls there are at once, over all threads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::counts::{Counts, Limit};

/// Counts connections and calls, and holds them to their limits.
#[derive(Debug)]
pub(super) struct Gate {
    connections: Arc<Semaphore>,
    calls: AtomicUsize,
    calls_max: usize,
    counts: Arc<Counts>,
}

impl Gate {
    pub(super) fn new(limits: &Limits, counts: Arc<Counts>) -> Gate {
        let connections = limits.connections.min(Semaphore::MAX_PERMITS);
        Gate {
            connections: Arc::new(Semaphore::new(connections)),
            calls: AtomicUsize::new(0),
            calls_max: limits.in_flight,
            counts,
        }
    }

    /// Waits until there is room for a connection. The room is free again when the permit is dropped.
    pub(super) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(permit);
        }
        self.counts.met(Limit::Connections);
        Arc::clone(&self.connections).acquire_owned().await.ok() // never closed
    }

    /// Lets a call in, if there is room for it.
    pub(super) fn call(self: &Arc<Gate>) -> Option<Pass> {
        let one_more = |calls| (calls < self.calls_max).then_some(calls + 1);
        if self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            self.counts.met(Limit::InFlight);
            return None;
        }
        Some(Pass(Arc::clone(self)))
    }

    /// Counts something that has been let in before: the tunnel that a call has become.
    pub(super) fn count(self: &Arc<Gate>) -> Pass {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Pass(Arc::clone(self))
    }
}

/// A call that was let in; it has gone when this is dropped.
#[derive(Debug)]
pub(super) struct Pass(Arc<Gate>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with the pass of its call.
#[derive(Debug)]
pub(super) struct Held<B> {
    body: B,
    /// `None`: a refusal of ours, which holds nothing.
    _pass: Option<Pass>,
}

impl<B> Held<B> {
    pub(super) fn new(body: B, pass: Option<Pass>) -> Held<B> {
        Held { body, _pass: pass }
    }

    pub(super) fn get_ref(&self) -> &B {
        &self.body
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_calls_than_may_be_and_each_gives_its_place_back() {
        let limits = Limits { in_flight: 3, ..Limits::default() };
        let counts = Arc::new(Counts::default());
        let gate = Arc::new(Gate::new(&limits, Arc::clone(&counts)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        let pass = gate.call();
                        assert!(gate.calls.load(Ordering::Relaxed) <= 3);
                        drop(pass);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gate.calls.load(Ordering::Relaxed), 0);
        let passes: Vec<_> = (0..3).map(|_| gate.call().unwrap()).collect();
        let before = counts.limits().find(|(limit, _)| *limit == "in_flight").unwrap().1;
        assert!(gate.call().is_none());
        assert_eq!(counts.limits().find(|(limit, _)| *limit == "in_flight").unwrap().1, before + 1);
        drop(passes);
        assert!(gate.call().is_some());
    }
}
