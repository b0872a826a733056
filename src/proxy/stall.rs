//! How long a caller may make no progress (`--caller-idle-timeout`).
//!
//! Time counts only while the caller is waited for: for bytes of a request's body that the service would take,
//! or for its TCP to take bytes of an answer. While the service thinks, nobody waits for the caller, and
//! while the service takes no more of a request, nobody asks the caller for more. So neither a model that
//! thinks for an hour nor a slow service ends a call by this.
//!
//! Progress is any byte that the caller sends, and any that its TCP takes. Both are seen at the socket, under
//! TLS: a record, a chunk or an event may be long, and whoever trickles it moves all the same. How much a
//! reader must take before its TCP says so is its TCP's affair: some tens of kilobytes at most, which is why
//! the kernel is asked to hold little that is unsent ([`UNSENT_BYTES_MAX`]).
//!
//! A connection that became a tunnel is not timed: its two sides have ways of their own to see that the
//! other one is gone, and what it holds is two small buffers.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::BoxError;
use super::counts::{Counts, Limit};

/// What the kernel holds of an answer that it has not sent. By itself it takes megabytes at once and then
/// nothing until a third of that is gone: a slow reader would look like one that stalls.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// What a caller is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// More of a request's body.
    Request = 1,
    /// Room for more of an answer.
    Answer = 2,
}

/// The patience with one caller's connection. Clones are of the same one.
#[derive(Clone, Debug)]
pub(super) struct Stall(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    timeout: Duration,
    counts: Arc<Counts>,
    /// What is waited for: a bit for each.
    waits: AtomicU8,
    /// It has been enough.
    over: Arc<AtomicBool>,
    /// And that was because no more of an answer was taken.
    unread: AtomicBool,
    /// Nothing is timed any more.
    off: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Made when the caller is first waited for. It may ring early, and is then set anew.
    timer: Option<Pin<Box<Sleep>>>,
    /// The caller's last progress, or when it began to be waited for.
    since: Instant,
}

/// The caller sent nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the caller sent nothing for too long")]
pub(super) struct Stalled;

impl Stall {
    pub(super) fn new(timeout: Duration, counts: &Arc<Counts>) -> Stall {
        Stall(Arc::new(Shared {
            timeout,
            counts: Arc::clone(counts),
            waits: AtomicU8::new(0),
            over: Arc::default(),
            unread: AtomicBool::new(false),
            off: AtomicBool::new(false),
            state: Mutex::new(State { timer: None, since: Instant::now() }),
        }))
    }

    /// Makes a socket tell in time that its peer takes what is sent.
    pub(super) fn prepare(tcp: &TcpStream) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX); // else it is told later
        #[cfg(not(target_os = "linux"))]
        let _ = (tcp, UNSENT_BYTES_MAX);
    }

    /// Says whether it has been enough: for those who have to know what ended a call.
    pub(super) fn is_over(&self) -> &Arc<AtomicBool> {
        &self.0.over
    }

    /// The caller has taken nothing of an answer for too long, and will not take what is still to be sent.
    pub(super) fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// From now on the caller may take its time.
    pub(super) fn end(&self) {
        self.0.off.store(true, Ordering::Relaxed);
    }

    /// The caller is waited for, and has not moved. True: for too long.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>, what: For) -> bool {
        let shared = &self.0;
        if shared.off.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = shared.lock();
        if shared.waits.fetch_or(what as u8, Ordering::Relaxed) == 0 {
            state.since = Instant::now();
        }
        let until = state.since + shared.timeout;
        let timer = state.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                if !shared.over.swap(true, Ordering::Relaxed) {
                    shared.counts.met(Limit::CallerIdleTimeout);
                }
                shared.unread.fetch_or(what == For::Answer, Ordering::Relaxed);
                return true;
            }
            timer.as_mut().reset(until.into());
        }
        false
    }

    /// The caller has moved.
    pub(super) fn moved(&self) {
        if self.0.waits.load(Ordering::Relaxed) != 0 {
            self.0.lock().since = Instant::now();
        }
    }

    /// This is not waited for any more.
    pub(super) fn done(&self, what: For) {
        if self.0.waits.load(Ordering::Relaxed) & what as u8 != 0 {
            self.0.waits.fetch_and(!(what as u8), Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body as it arrives. Whoever asks it for more waits for the caller.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    stall: Option<Stall>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, stall: Option<Stall>) -> Arriving {
        Arriving { body, stall }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(stall) = &self.stall {
            if polled.is_ready() {
                stall.done(For::Request);
            } else if stall.poll_over(cx, For::Request) {
                return Poll::Ready(Some(Err(Stalled.into())));
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    /// Nobody wants more of it.
    fn drop(&mut self) {
        if let Some(stall) = &self.stall {
            stall.done(For::Request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Gives what says that so much time has passed, and what asks; returns how often the limit was met.
    fn at_any_time(work: impl FnOnce(&Stall, &dyn Fn(Duration), &dyn Fn(For) -> bool)) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let counts = Arc::new(Counts::default());
        let stall = Stall::new(TIMEOUT, &counts);
        runtime.block_on(async {
            let pass = |time: Duration| {
                // The last progress is so much longer ago.
                let mut state = stall.0.lock();
                state.since = state.since.checked_sub(time).unwrap();
                if let Some(timer) = &mut state.timer {
                    let deadline = timer.deadline();
                    timer.as_mut().reset(deadline.checked_sub(time).unwrap());
                }
            };
            let over = |what: For| stall.poll_over(&mut Context::from_waker(Waker::noop()), what);
            work(&stall, &pass, &over);
        });
        counts.limits().find(|(name, _)| *name == "caller_idle_timeout").unwrap().1
    }

    #[test]
    fn who_is_waited_for_and_does_not_move_has_so_long_and_no_longer() {
        for what in [For::Request, For::Answer] {
            let met = at_any_time(|stall, pass, over| {
                assert!(!over(what));
                pass(TIMEOUT - Duration::from_secs(1));
                assert!(!over(what) && !stall.is_over().load(Ordering::Relaxed));
                pass(Duration::from_secs(2));
                assert!(over(what) && over(what) && stall.is_over().load(Ordering::Relaxed));
                assert_eq!(stall.is_unread(), what == For::Answer);
            });
            assert_eq!(met, 1);
        }
    }

    #[test]
    fn any_progress_and_any_time_in_which_nobody_waits_begin_it_anew() {
        let met = at_any_time(|stall, pass, over| {
            for _ in 0..100 {
                assert!(!over(For::Answer));
                pass(TIMEOUT / 2);
                assert!(!over(For::Request)); // both are waited for: since the first
                pass(TIMEOUT / 3);
                stall.moved();
                pass(TIMEOUT / 3);
                assert!(!over(For::Answer) && !over(For::Request));
                stall.done(For::Answer);
                stall.done(For::Request);
                pass(10 * TIMEOUT); // the service thinks
            }
        });
        assert_eq!(met, 0);
    }

    #[test]
    fn a_tunnel_is_not_timed() {
        let met = at_any_time(|stall, pass, over| {
            assert!(!over(For::Answer));
            stall.end();
            pass(10 * TIMEOUT);
            assert!(!over(For::Answer));
        });
        assert_eq!(met, 0);
    }
}
