//! The state of one connection, shared by its socket, by the response body that hyper sends on it, and by the task
//! that runs it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Version;

use super::head_timer::HeadTimer;
use crate::proxy::forward::response_body::ResponseBody;

/// How many bytes of a response hyper may hold and yet get another frame: small frames leave together, and of large
/// ones, which are a read of 64 KiB, each leaves by itself.
const UNWRITTEN_BYTES_MAX: usize = 16 << 10;

/// The state of one connection.
pub(super) struct ConnState {
    pub(super) head_timer: HeadTimer,
    /// The socket is to be closed with a reset.
    resets: AtomicBool,
    /// A response that was taken over from hyper, or the tunnel that follows a `101`.
    next: Mutex<Option<TakenOver>>,
    /// A response was taken over from hyper.
    taken_over: AtomicBool,
    /// And all that hyper had of it before is written.
    flushed: AtomicBool,
    /// Bytes of the response that hyper has got since it had last written all.
    unwritten_bytes: AtomicUsize,
    /// Wakes the response body when all is written.
    room: Mutex<Option<Waker>>,
}

/// A response whose head, and whose body so far, hyper has sent.
pub(super) struct TakenOver {
    pub(super) body: ResponseBody,
    /// It is the last one of its connection.
    pub(super) last: bool,
}

impl ConnState {
    pub(super) fn new(header_timeout: Duration) -> ConnState {
        ConnState {
            head_timer: HeadTimer::new(header_timeout),
            resets: AtomicBool::new(false),
            next: Mutex::new(None),
            taken_over: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            unwritten_bytes: AtomicUsize::new(0),
            room: Mutex::new(None),
        }
    }

    /// A request of this version has arrived. A client of HTTP/1.0 may see the connection end cleanly only if its
    /// response is whole; elsewhere the framing says whether it is, and a reset would only destroy bytes that are
    /// still on their way.
    pub(super) fn saw_request(&self, version: Version) {
        self.resets.store(version < Version::HTTP_11, Ordering::Relaxed);
    }

    /// Every response was whole.
    pub(super) fn ended_well(&self) {
        self.resets.store(false, Ordering::Relaxed);
    }

    /// The socket is to be closed with a reset.
    pub(super) fn resets(&self) -> bool {
        self.resets.load(Ordering::Relaxed)
    }

    /// Is ready once hyper may have more of the response.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unwritten_bytes.load(Ordering::Relaxed) < UNWRITTEN_BYTES_MAX {
            return Poll::Ready(());
        }
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }

    /// hyper has got so many more bytes of the response.
    pub(super) fn gave(&self, bytes: usize) {
        self.unwritten_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// hyper has written all that it had.
    pub(super) fn all_written(&self) {
        self.flushed.store(true, Ordering::Relaxed);
        if self.unwritten_bytes.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.unwritten_bytes.store(0, Ordering::Relaxed);
        if let Some(waker) = self.room.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Takes a response over from hyper, which flushes the socket next.
    pub(super) fn take_over(&self, response: TakenOver) {
        self.flushed.store(false, Ordering::Relaxed);
        self.taken_over.store(true, Ordering::Relaxed);
        *self.lock() = Some(response);
    }

    /// The response that was taken over, once hyper has nothing more to do with it.
    pub(super) fn taken_over(&self) -> Option<TakenOver> {
        if !self.taken_over.load(Ordering::Relaxed) || !self.flushed.load(Ordering::Relaxed) {
            return None;
        }
        self.taken_over.store(false, Ordering::Relaxed);
        self.lock().take()
    }

    /// Keeps the tunnel that the connection becomes once hyper has sent the `101`.
    pub(super) fn keep_tunnel(&self, body: ResponseBody) {
        *self.lock() = Some(TakenOver { body, last: true });
    }

    /// hyper has ended: returns a tunnel that was kept, or a response that can no longer be sent.
    pub(super) fn take_next(&self) -> Option<ResponseBody> {
        Some(self.lock().take()?.body)
    }

    fn lock(&self) -> MutexGuard<'_, Option<TakenOver>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
