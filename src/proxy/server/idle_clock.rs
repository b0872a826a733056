//! Limits how long a client may make no progress (`--caller-idle-timeout`).
//!
//! Time counts only while the client is waited for: for bytes of a request body that the upstream would take,
//! or for its TCP to take bytes of a response. While the upstream thinks, the client is not waited for, and
//! while the upstream takes no more of a request, the client is not asked for more. So neither a model that
//! thinks for an hour nor a slow upstream ends a call by this.
//!
//! Progress is any byte that the client sends, and any that its TCP takes. Both are seen at the socket, under
//! TLS: a record, a chunk or an event may be long, and a client that trickles it makes progress. How much a
//! reader must take before its TCP says so is its TCP's affair: some tens of kilobytes at most, which is why
//! the kernel is asked to hold little that is unsent ([`UNSENT_BYTES_MAX`]).
//!
//! A connection that became a tunnel is not timed: its two sides have ways of their own to see that the
//! other one is gone, and it holds no more than two small buffers.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::proxy::counts::{Counts, Limit};

/// How much of a response the kernel holds that it has not sent. By itself it takes megabytes at once and then
/// nothing until a third of that is gone: a slow reader would look like one that stalls.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// The reason why a client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// More of a request body.
    Request = 1,
    /// Room for more of a response.
    Response = 2,
}

/// The clock of one client's connection. Clones are of the same one.
#[derive(Clone, Debug)]
pub(crate) struct IdleClock(Arc<ClockState>);

#[derive(Debug)]
struct ClockState {
    timeout: Duration,
    counts: Arc<Counts>,
    /// A bit for each reason to wait.
    waits: AtomicU8,
    /// The time is over.
    over: Arc<AtomicBool>,
    /// And that was because no more of a response was taken.
    unread: AtomicBool,
    /// Nothing is timed any more.
    off: AtomicBool,
    wait: Mutex<ClientWait>,
}

#[derive(Debug)]
struct ClientWait {
    /// Made when the client is first waited for. It may ring early, and is then set anew.
    timer: Option<Pin<Box<Sleep>>>,
    /// The client's last progress, or when it began to be waited for.
    since: Instant,
}

/// The client sent nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the caller sent nothing for too long")]
pub(crate) struct ClientIdle;

impl IdleClock {
    pub(crate) fn new(timeout: Duration, counts: &Arc<Counts>) -> IdleClock {
        IdleClock(Arc::new(ClockState {
            timeout,
            counts: Arc::clone(counts),
            waits: AtomicU8::new(0),
            over: Arc::default(),
            unread: AtomicBool::new(false),
            off: AtomicBool::new(false),
            wait: Mutex::new(ClientWait { timer: None, since: Instant::now() }),
        }))
    }

    /// Makes a socket tell in time that its peer takes the bytes that are sent.
    pub(crate) fn prepare(tcp: &TcpStream) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX); // else it is told later
        #[cfg(not(target_os = "linux"))]
        let _ = (tcp, UNSENT_BYTES_MAX);
    }

    /// Says whether the time is over, for the call, which must know why it ended.
    pub(crate) fn is_over(&self) -> &Arc<AtomicBool> {
        &self.0.over
    }

    /// The client has taken nothing of a response for too long, and will not take the rest.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// From now on the client may take its time.
    pub(crate) fn stop(&self) {
        self.0.off.store(true, Ordering::Relaxed);
    }

    /// The client is waited for and has made no progress. Returns true once that has lasted too long.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>, what: WaitsFor) -> bool {
        let clock = &self.0;
        if clock.off.load(Ordering::Relaxed) {
            return false;
        }
        let mut wait = clock.lock();
        if clock.waits.fetch_or(what as u8, Ordering::Relaxed) == 0 {
            wait.since = Instant::now();
        }
        let until = wait.since + clock.timeout;
        let timer = wait.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                if !clock.over.swap(true, Ordering::Relaxed) {
                    clock.counts.met(Limit::CallerIdleTimeout);
                }
                clock.unread.fetch_or(what == WaitsFor::Response, Ordering::Relaxed);
                return true;
            }
            timer.as_mut().reset(until.into());
        }
        false
    }

    /// The client has made progress.
    pub(crate) fn progress(&self) {
        if self.0.waits.load(Ordering::Relaxed) != 0 {
            self.0.lock().since = Instant::now();
        }
    }

    /// The client is not waited for any more for this reason.
    pub(crate) fn done(&self, what: WaitsFor) {
        if self.0.waits.load(Ordering::Relaxed) & what as u8 != 0 {
            self.0.waits.fetch_and(!(what as u8), Ordering::Relaxed);
        }
    }
}

impl ClockState {
    fn lock(&self) -> MutexGuard<'_, ClientWait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Passes a function that lets time pass and one that polls the clock; returns how often the limit was met.
    fn at_any_time(work: impl FnOnce(&IdleClock, &dyn Fn(Duration), &dyn Fn(WaitsFor) -> bool)) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let counts = Arc::new(Counts::default());
        let clock = IdleClock::new(TIMEOUT, &counts);
        runtime.block_on(async {
            let pass = |time: Duration| {
                // The last progress is so much longer ago.
                let mut wait = clock.0.lock();
                wait.since = wait.since.checked_sub(time).unwrap();
                if let Some(timer) = &mut wait.timer {
                    let deadline = timer.deadline();
                    timer.as_mut().reset(deadline.checked_sub(time).unwrap());
                }
            };
            let over = |what: WaitsFor| clock.poll_over(&mut Context::from_waker(Waker::noop()), what);
            work(&clock, &pass, &over);
        });
        counts.limits().find(|(name, _)| *name == "caller_idle_timeout").unwrap().1
    }

    #[test]
    fn who_is_waited_for_and_does_not_move_has_so_long_and_no_longer() {
        for what in [WaitsFor::Request, WaitsFor::Response] {
            let met = at_any_time(|clock, pass, over| {
                assert!(!over(what));
                pass(TIMEOUT - Duration::from_secs(1));
                assert!(!over(what) && !clock.is_over().load(Ordering::Relaxed));
                pass(Duration::from_secs(2));
                assert!(over(what) && over(what) && clock.is_over().load(Ordering::Relaxed));
                assert_eq!(clock.is_unread(), what == WaitsFor::Response);
            });
            assert_eq!(met, 1);
        }
    }

    #[test]
    fn any_progress_and_any_time_in_which_the_client_is_not_waited_for_begin_it_anew() {
        let met = at_any_time(|clock, pass, over| {
            for _ in 0..100 {
                assert!(!over(WaitsFor::Response));
                pass(TIMEOUT / 2);
                assert!(!over(WaitsFor::Request)); // both are waited for: since the first
                pass(TIMEOUT / 3);
                clock.progress();
                pass(TIMEOUT / 3);
                assert!(!over(WaitsFor::Response) && !over(WaitsFor::Request));
                clock.done(WaitsFor::Response);
                clock.done(WaitsFor::Request);
                pass(10 * TIMEOUT); // the upstream thinks
            }
        });
        assert_eq!(met, 0);
    }

    #[test]
    fn a_tunnel_is_not_timed() {
        let met = at_any_time(|clock, pass, over| {
            assert!(!over(WaitsFor::Response));
            clock.stop();
            pass(10 * TIMEOUT);
            assert!(!over(WaitsFor::Response));
        });
        assert_eq!(met, 0);
    }
}
