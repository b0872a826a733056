//! How long the service may keep us waiting. Without a limit there is no timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A point in time, if one has been set.
#[derive(Debug, Default)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Set if there is a limit.
    pub(super) fn after(limit: Option<Duration>) -> Deadline {
        Deadline(limit.map(|limit| Box::pin(sleep(limit))))
    }

    /// Sets it if there is a limit; else it stays as it is.
    pub(super) fn begin(&mut self, limit: Option<Duration>) {
        if limit.is_some() {
            *self = Deadline::after(limit);
        }
    }

    /// Ready when it has passed; never without one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

/// Silence within an answer. A chunk only notes the time: the one timer, when it fires, looks how
/// long the silence really is, and goes on for the rest.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Silence {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> Silence {
        Silence { limit, since: Instant::now(), sleep: Box::pin(sleep(limit)) }
    }

    /// The service was heard: another silence begins.
    pub(super) fn end(&mut self) {
        self.since = Instant::now();
    }

    /// Ready once it has lasted for longer than the limit.
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
