//! How long a connection waits for a request: one time for the first byte, another from there on.
//!
//! Hyper has one timer for both, which runs from the moment that it wants a head. So its timer is
//! ours: it starts with the time for idle connections, and once a byte has come, which only the
//! socket knows, it goes on with the time for heads. Hyper alone knows when a head is wanted and
//! when it is whole, so that no body, no answer and no tunnel is ever timed by this.
//!
//! A connection has one timer for its life. While a call runs a read costs one load, a write nothing.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Limits;

/// First byte of a TLS handshake record, and of no HTTP request.
pub(super) const TLS_HANDSHAKE: u8 = 22;

/// The patience with one connection.
#[derive(Clone, Debug)]
pub(super) struct Patience(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A byte has come since a head is wanted.
    begun: AtomicBool,
    header_timeout: Duration,
    wait: Mutex<Wait>,
}

#[derive(Debug)]
struct Wait {
    timer: Pin<Box<tokio::time::Sleep>>,
    /// When it has been enough, as long as no byte comes.
    idle_until: Instant,
    stage: Stage,
    /// The first byte of the last head.
    first: u8,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The timer is still to be set.
    Wanted,
    /// The first byte of a head.
    Idle,
    /// The rest of it.
    Head,
}

impl Patience {
    /// Must be called within the runtime.
    pub(super) fn new(limits: &Limits) -> Patience {
        let wait = Wait {
            timer: Box::pin(tokio::time::sleep(limits.idle_timeout)),
            idle_until: Instant::now(),
            stage: Stage::Wanted,
            first: 0,
        };
        Patience(Arc::new(Shared {
            begun: AtomicBool::new(false),
            header_timeout: limits.header_timeout,
            wait: Mutex::new(wait),
        }))
    }

    /// The socket, seen by this.
    pub(super) fn watch<T>(&self, io: T) -> Watched<T> {
        Watched { io, shared: Arc::clone(&self.0) }
    }

    /// What it was waiting for when the time was over.
    pub(super) fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// The last head began like a TLS handshake.
    pub(super) fn saw_tls(&self) -> bool {
        self.0.lock().first == TLS_HANDSHAKE
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    /// A head is wanted.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.begun.store(false, Ordering::Relaxed);
        let mut wait = self.0.lock();
        wait.idle_until = deadline;
        wait.stage = Stage::Wanted;
        drop(wait);
        Box::pin(Waiting(Arc::clone(&self.0)))
    }
}

/// What hyper polls while it wants a head.
struct Waiting(Arc<Shared>);

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut wait = self.0.lock();
        if wait.stage == Stage::Wanted {
            let until = wait.idle_until.into();
            wait.timer.as_mut().reset(until);
            wait.stage = Stage::Idle;
        }
        if wait.stage == Stage::Idle && self.0.begun.load(Ordering::Relaxed) {
            wait.timer.as_mut().reset(tokio::time::Instant::now() + self.0.header_timeout);
            wait.stage = Stage::Head;
        }
        wait.timer.as_mut().poll(cx)
    }
}

/// A socket of which the first byte of each head is noticed.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    shared: Arc<Shared>,
}

impl<T> Watched<T> {
    pub(super) fn into_inner(self) -> T {
        self.io
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if !self.shared.begun.load(Ordering::Relaxed)
            && let Some(&first) = buf.filled().get(before)
        {
            self.shared.begun.store(true, Ordering::Relaxed);
            self.shared.lock().first = first;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
