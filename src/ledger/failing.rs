//! The state in which nothing can be stored, and the way out of it.
//!
//! ```text
//!        a transaction or a sync fails                 opened, tidied, room again:
//!   healthy ----------------------> failing            one transaction stores the sums
//!      ^                              |  ^ |                          |
//!      |                              |  '-' a try every 0.1 s .. 1 s |
//!      '------------------------------+-------------------------------'
//! ```
//!
//! While failing, no slot is given out; calls that end are added to the sums and give theirs back;
//! calls that run keep their draft for later; checkpoints are dropped. So memory stays flat.
//!
//! The transaction that reported an error is *in doubt*: it may be committed nevertheless. It is
//! held until the database can be opened again and says so (`storage`). Until then nothing of it was seen by
//! the publisher, and if it was not committed nothing of it ever is: its calls go to the sums.
//!
//! A try opens the database, settles the doubt, stores the publisher's marks, deletes delivered
//! events, and looks whether there is room. If so, one transaction stores the sums, deletes the rows
//! of all calls in them and writes a control event that says `degraded`; then the ledger is healthy.
//! A crash before it loses the sums, which the marker in the lock file tells the next start. Sums are not
//! stored while there is no room for calls, although a transaction of marks may succeed: the reserve holds
//! each sum once, and must last until the end.
//!
//! A disk around full makes the state come and go. Each return stores what was summed, so returns are as
//! far apart as sums are stored (`SUMS_EVERY`): a payer gets a summary event each half second at most.
//!
//! This file knows when a try is due; `writer` makes it.

use std::time::{Duration, Instant};

/// Pause before the next try; doubles up to the second value while tries fail. A try takes some
/// milliseconds, and a disk that is well again is to be found so within a second.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Pause while the database works but is full: marks that come in are stored this soon.
const TIDY_EVERY: Duration = Duration::from_millis(200);

/// The failing state.
#[derive(Debug)]
pub(super) struct Failing {
    try_at: Instant,
    pause: Duration,
    /// The bytes that were free on a volume that was full at the last try. Room that comes is looked for more
    /// often than a try is made, which costs far more than a look.
    full: Option<u64>,
    look_at: Instant,
}

impl Failing {
    pub(super) fn new(now: Instant) -> Failing {
        Failing { try_at: now, pause: RETRY_MIN, full: None, look_at: now }
    }

    /// A transaction or a try has failed: the next try is due after a pause, and not before `earliest`. `free`:
    /// the bytes that are free on a volume that is full.
    pub(super) fn retry_later(&mut self, now: Instant, earliest: Instant, free: Option<u64>) {
        self.try_at = earliest.max(now + self.pause);
        self.pause = RETRY_MAX.min(self.pause * 2);
        (self.full, self.look_at) = (free, earliest.max(now + TIDY_EVERY));
    }

    /// The database works, but has no room for calls. `more`: more may be deleted at once.
    pub(super) fn tidy_later(&mut self, now: Instant, more: bool) {
        let pause = if more { Duration::ZERO } else { TIDY_EVERY };
        (self.pause, self.full, self.try_at) = (RETRY_MIN, None, now + pause);
    }

    /// A try is due: by the clock, or because a volume that was full has `margin` bytes more of room. Whether
    /// that is enough, the try tells.
    pub(super) fn is_due(&mut self, now: Instant, margin: u64, free: impl FnOnce() -> u64) -> bool {
        if now >= self.try_at {
            return true;
        }
        let Some(then) = self.full.filter(|_| now >= self.look_at) else { return false };
        self.look_at = now + TIDY_EVERY;
        free() > then + margin
    }

    /// When there may be something to do.
    pub(super) fn wake_at(&self) -> Instant {
        if self.full.is_some() { self.try_at.min(self.look_at) } else { self.try_at }
    }
}
