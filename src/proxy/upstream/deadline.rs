//! How long an upstream may take. Without a limit there is no timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A point in time, if one has been set.
#[derive(Debug, Default)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// A deadline that is set if there is a limit.
    pub(super) fn after(limit: Option<Duration>) -> Deadline {
        Deadline(limit.map(|limit| Box::pin(sleep(limit))))
    }

    /// Sets it if there is a limit; else it stays as it is.
    pub(super) fn begin(&mut self, limit: Option<Duration>) {
        if limit.is_some() {
            *self = Deadline::after(limit);
        }
    }

    /// Is ready when the deadline has passed; never without one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

/// Limits the silence within a response. A chunk only notes the time: when the one timer fires, it looks how long
/// the silence really is, and goes on for the rest.
#[derive(Debug)]
pub(super) struct IdleDeadline {
    limit: Duration,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleDeadline {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> IdleDeadline {
        IdleDeadline { limit, since: Instant::now(), sleep: Box::pin(sleep(limit)) }
    }

    /// The upstream has sent something, so the time begins anew.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// Is ready once the silence has lasted longer than the limit.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.since.elapsed() >= self.limit {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.since + self.limit);
        }
    }
}
