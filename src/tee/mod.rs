//! Bodies that show each frame to a meter and pass it on, and the one place where a call settles.
//!
//! The data path never waits for accounting. A frame is looked at inline, for a bounded number of
//! bytes; what is more goes, in order, to the counting pool. A call settles exactly once: when its
//! answer has ended, failed or been dropped. A thread of its own settles calls, a few milliseconds of
//! them at a time; if the pool still holds some of the call, the pool settles it.

mod answers;
mod body;
mod budget;
mod call;
mod drift;
mod early;
mod kept;
mod left;
mod live;
mod models;
mod prompt;
mod reading;
mod sample;
mod settle;
#[cfg(test)]
mod tests;
mod work;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use self::answers::Answers;
pub use self::body::{Cause, RequestTap, ResponseTap};
pub use self::call::{Begin, Call, Conclude};
pub use self::drift::{Compared, Kind};
pub use self::kept::{ANSWER_READ_BYTES_MAX, Kept, REQUEST_READ_BYTES_MAX};
pub use self::live::Live;
pub use self::sample::Share;
use crate::pool::{Gather, Pool};
use budget::{Budget, Holder};
use drift::Drift;
pub use metering::meter::Left;
use metering::meter::{Checks, Ending};
use metering::usage::{Settled, Usage};
use models::Models;

/// Decoded bytes of an answer that are counted in one go on the network thread: some twenty events,
/// well under a millisecond even of the slowest text. The pool gets what is more.
const INLINE_BYTES_MAX: usize = 8 * 1024;

/// What one answer may hold to be read as a whole beside all others: every short one does. What is more is
/// part of [`Bounds::answer_memory_bytes`].
const ANSWER_BYTES_FREE: usize = 16 << 10;

/// What answers may hold while they are read and wait to be counted. Over a bound their own count is given
/// up; what the service reports is read all the same.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What all answers together may hold to be read as a whole (`--answer-memory`): an answer waits for its
    /// caller, who may never read it. Over it: reason `meter_overload`.
    pub answer_memory_bytes: usize,
    /// What of one answer may wait for the counting pool: half a minute of the fastest stream. Over it:
    /// reason `meter_overload`.
    pub call_backlog_bytes: usize,
    /// What of all answers together may wait, those among them that are over and read as a whole.
    pub backlog_bytes: usize,
    /// How much of one answer is held to be read as a whole. Over it: reason `too_long`.
    pub answer: metering::meter::Bounds,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            answer_memory_bytes: 32 << 20,
            call_backlog_bytes: 1 << 20,
            backlog_bytes: 64 << 20,
            answer: Default::default(),
        }
    }
}

/// Hears of every call that has settled: for log lines and metrics. Called once a call, from a
/// network or counting thread, so it must not wait.
pub trait Observer: Send + Sync {
    /// The call is recorded: its event is on its way into the ledger.
    fn settled(&self, settled: &Settled);
    /// The call had no place in the ledger and must be added to the sums.
    fn summed(&self, settled: &Settled);
    /// The service's number was held against ours: once for each side of a call that allows it.
    fn compared(&self, compared: &Compared);
    /// Accounting held a request or a frame for so long.
    fn held(&self, phase: Phase, time: Duration) {
        let _ = (phase, time);
    }
}

/// What accounting held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A request, from its head's arrival until it may be sent: routing, identity, a place in the ledger.
    Request,
    /// A frame of an answer, while it was looked at.
    Chunk,
}

impl Phase {
    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Request => "request",
            Phase::Chunk => "chunk",
        }
    }
}

/// Numbers that the data path counts, since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls begun, whether or not they had a place in the ledger.
    pub calls_accepted: AtomicU64,
    /// Calls whose event went to the ledger.
    pub calls_settled: AtomicU64,
    /// Calls that had no place in the ledger.
    pub calls_summed: AtomicU64,
    /// Calls refused because the ledger had no place (not accepted, no event).
    pub calls_refused: AtomicU64,
    /// Calls whose answer could not be counted, and was read for what it reports only.
    pub meter_overload: AtomicU64,
    /// Calls whose prompt was not kept for counting.
    pub prompts_not_kept: AtomicU64,
    /// Panics of a meter or counter that were caught; the call's numbers are unknown.
    pub meter_panics: AtomicU64,
    /// Answers that are read on now although their callers have left.
    pub drains_running: AtomicUsize,
    /// Those that came to their end.
    pub drains_finished: AtomicU64,
    /// Those that a bound ended, or that one kept from beginning.
    pub drains_cut: AtomicU64,
    /// Requests that were sent again, since the service refused to be asked for usage.
    pub usage_refused: AtomicU64,
    /// Answers whose head has come and whose body has not ended.
    pub answers: Answers,
    /// Bytes of request bodies of the calls that ended.
    pub request_bytes: AtomicU64,
    /// Bytes of their answers' bodies, as they came.
    pub answer_bytes: AtomicU64,
}

impl Counters {
    /// Calls that run now.
    pub fn calls_open(&self) -> u64 {
        let done = self.calls_settled.load(Ordering::Acquire) + self.calls_summed.load(Ordering::Acquire);
        self.calls_accepted.load(Ordering::Acquire).saturating_sub(done)
    }
}

/// What all calls share.
pub struct Accounts {
    pool: Pool,
    observer: Arc<dyn Observer>,
    counters: Counters,
    /// Request bodies that are kept.
    prompts: Budget,
    /// Answers that wait for the pool.
    backlog: Budget,
    /// Answers that are held to be read as a whole.
    answers: Budget,
    /// Tells callers apart in the budgets.
    holders: RandomState,
    bounds: Bounds,
    drift: Drift,
    models: Models,
    sample: Share,
    /// Calls that are over and have to be settled.
    ended: Gather<Arc<Call>>,
    stopping: AtomicBool,
}

impl Accounts {
    /// `prompt_memory_bytes_max` bounds all kept request bodies together (`--prompt-memory`).
    pub fn new(pool: Pool, observer: Arc<dyn Observer>, prompt_memory_bytes_max: usize) -> Accounts {
        let bounds = Bounds::default();
        Accounts {
            pool,
            observer,
            counters: Counters::default(),
            prompts: Budget::new(prompt_memory_bytes_max),
            backlog: Budget::new(bounds.backlog_bytes),
            answers: Budget::new(bounds.answer_memory_bytes),
            holders: RandomState::new(),
            bounds,
            drift: Drift::default(),
            models: Models::default(),
            sample: Share::default(),
            ended: Gather::idle(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Lets answers hold so much and no more.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Accounts {
        let backlog = Budget::new(bounds.backlog_bytes);
        let answers = Budget::new(bounds.answer_memory_bytes);
        Accounts { bounds, backlog, answers, ..self }
    }

    /// Counts the prompts of this share of the calls whose usage the service reports
    /// (`--drift-sample`); without it, of none.
    #[must_use]
    pub fn sampling(self, sample: Share) -> Accounts {
        Accounts { sample, ..self }
    }

    /// Leaves what follows the end of a call (its event, log line and metrics, its place in the ledger)
    /// to a thread of its own; without it, the network threads do that.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn settling_apart(self) -> io::Result<Accounts> {
        let ended = Gather::start("tw-settle", |call: Arc<Call>| call.conclude())?;
        Ok(Accounts { ended, ..self })
    }

    /// The data path's numbers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Memory that kept request bodies pin now.
    pub fn prompt_memory_bytes(&self) -> usize {
        self.prompts.used_bytes()
    }

    /// Memory that answers waiting for the counting pool pin now.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.used_bytes()
    }

    /// Memory of answers that are held now to be read as a whole, beside the first 16 KiB of each.
    pub fn answer_memory_bytes(&self) -> usize {
        self.answers.used_bytes()
    }

    /// Whose memory it is that a caller's calls hold.
    fn holder(&self, caller: &str) -> Holder {
        Holder::of_hash(self.holders.hash_one(caller))
    }

    /// From now on a call that is cut short ended because the process stops, and not because its
    /// caller left.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The process stops: see [`Accounts::stop`].
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A call was refused since the ledger had no place for it.
    pub fn count_refused(&self) {
        self.counters.calls_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Settles the calls that are over. Waits for it; call it when no call runs any more.
    pub fn close(&self) {
        self.ended.close(); // some of them still need the pool
        self.pool.close();
    }

    /// Why a call that is dropped half-way ends.
    fn interrupted(&self) -> Ending {
        if self.is_stopping() { Ending::Shutdown } else { Ending::ClientDisconnect }
    }

    /// Makes room for a prompt that may be needed; samples give way.
    fn try_keep_prompt(&self, holder: Holder, bytes: usize) -> bool {
        let add = || self.prompts.try_add(holder, bytes);
        add() || (self.pool.call_off_errands() && add())
    }

    /// What a call says of the rules, and what the rules are worth for it.
    fn check(&self, usage: &mut Usage, checks: &Checks) {
        for (side, check) in checks.sides() {
            if let (Some(rules), Some(residual)) = (check.class, check.residual)
                && let Some(kind) = Kind::of(&usage.target, side, rules)
            {
                self.compare(kind, residual);
            }
        }
        self.drift.label(&mut usage.accounting, checks, &usage.target);
    }

    fn compare(&self, kind: Kind, residual: i64) {
        self.observer.compared(&self.drift.compare(kind, residual));
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("counters", &self.counters).finish_non_exhaustive()
    }
}
