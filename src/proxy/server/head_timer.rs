//! How long a connection waits for a request: one time for the first byte, another from there on.
//!
//! Hyper has one timer for both, which runs from the moment that it wants a head. So its timer is
//! ours: it starts with the time for idle connections, and once a byte has come, which only the
//! socket knows, it goes on with the time for heads. Hyper alone knows when a head is wanted and
//! when it is whole, so that no body, no response and no tunnel is ever timed by this.
//!
//! A connection has one timer for its life. While a call runs a read costs one load, a write nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// First byte of a TLS handshake record, and of no HTTP request.
pub(super) const TLS_HANDSHAKE: u8 = 22;

/// The timer of one connection's request heads.
#[derive(Debug)]
pub(super) struct HeadTimer {
    /// A byte has come since a head is wanted.
    begun: AtomicBool,
    header_timeout: Duration,
    wait: Mutex<HeadWait>,
}

#[derive(Debug)]
struct HeadWait {
    /// Made when a head is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// When an idle connection is closed, as long as no byte comes.
    idle_until: Instant,
    stage: HeadStage,
    /// The first byte of the last head.
    first_byte: u8,
}

/// The part of a head that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadStage {
    /// The timer is still to be set.
    Wanted,
    /// The first byte of a head.
    Idle,
    /// The rest of it.
    Head,
}

impl HeadTimer {
    pub(super) fn new(header_timeout: Duration) -> HeadTimer {
        HeadTimer {
            begun: AtomicBool::new(false),
            header_timeout,
            wait: Mutex::new(HeadWait {
                timer: None,
                idle_until: Instant::now(),
                stage: HeadStage::Wanted,
                first_byte: 0,
            }),
        }
    }

    /// A head is wanted, and its first byte may come until then.
    pub(super) fn want_head(&self, idle_until: Instant) {
        self.begun.store(false, Ordering::Relaxed);
        let mut wait = self.lock();
        wait.idle_until = idle_until;
        wait.stage = HeadStage::Wanted;
    }

    /// Bytes were read from the connection.
    pub(super) fn saw(&self, bytes: &[u8]) {
        if !self.begun.load(Ordering::Relaxed)
            && let Some(&first) = bytes.first()
        {
            self.begun.store(true, Ordering::Relaxed);
            self.lock().first_byte = first;
        }
    }

    /// Is ready once the head has been waited for too long.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wait = self.lock();
        let idle_until = wait.idle_until.into();
        if wait.stage == HeadStage::Wanted {
            wait.timer.get_or_insert_with(|| Box::pin(sleep_until(idle_until))).as_mut().reset(idle_until);
            wait.stage = HeadStage::Idle;
        }
        let begins = wait.stage == HeadStage::Idle && self.begun.load(Ordering::Relaxed);
        if begins {
            wait.stage = HeadStage::Head;
        }
        let Some(timer) = &mut wait.timer else { return Poll::Pending };
        if begins {
            timer.as_mut().reset(tokio::time::Instant::now() + self.header_timeout);
        }
        timer.as_mut().poll(cx)
    }

    /// The part of a head that it was waiting for when the time was over.
    pub(super) fn stage(&self) -> HeadStage {
        self.lock().stage
    }

    /// The last head began like a TLS handshake.
    pub(super) fn saw_tls(&self) -> bool {
        self.lock().first_byte == TLS_HANDSHAKE
    }

    fn lock(&self) -> MutexGuard<'_, HeadWait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
