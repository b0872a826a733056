//! The parts that all calls share: budgets, counters, the pool, and the way of an event into the ledger.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metering::meter::{Checks, Ending};
use metering::usage::{Deferral, Settled, Usage};

use super::budget::{BudgetShare, MemoryBudget};
use super::counters::Counters;
use super::drift::{Drift, NumberKind};
use super::models::ModelsByDeployment;
use super::observer::Observer;
use super::response_ids::ResponseIds;
use super::running_calls::RunningCall;
use super::sample_ratio::SampleRatio;
use crate::ledger::OpenCall;
use crate::pool::{Batcher, Pool};

/// Bounds of what responses hold while they are read and wait to be counted. Over a bound their own count is
/// given up; what the service reports is still read.
#[derive(Clone, Copy, Debug)]
pub struct ResponseBounds {
    /// Bytes that all responses together may hold to be read as a whole (`--answer-memory`): a response waits
    /// for its client, who may never read it. Over it: reason `meter_overload`.
    pub response_memory_bytes: usize,
    /// Bytes of one response that may wait for the counting pool: half a minute of the fastest stream. Over it:
    /// reason `meter_overload`.
    pub call_backlog_bytes: usize,
    /// Bytes of all responses together that may wait, those among them that are over and read as a whole.
    pub backlog_bytes: usize,
    /// Bounds of what is held of one response to be read as a whole. Over it: reason `too_long`.
    pub response: metering::meter::Bounds,
}

impl Default for ResponseBounds {
    fn default() -> ResponseBounds {
        ResponseBounds {
            response_memory_bytes: 32 << 20,
            call_backlog_bytes: 1 << 20,
            backlog_bytes: 64 << 20,
            response: Default::default(),
        }
    }
}

/// All that calls share.
pub struct Accounts {
    pub(super) pool: Pool,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) counters: Counters,
    /// Request bodies that are kept.
    pub(super) prompts: MemoryBudget,
    /// Responses that wait for the pool.
    pub(super) backlog: MemoryBudget,
    /// Responses that are held to be read as a whole.
    pub(super) responses: MemoryBudget,
    pub(super) bounds: ResponseBounds,
    pub(super) drift: Drift,
    pub(super) models: ModelsByDeployment,
    pub(super) sample: SampleRatio,
    /// Responses that two connections may be told of.
    pub(super) response_ids: ResponseIds,
    /// Calls that are over and have to be settled.
    pub(super) ended: Batcher<Arc<dyn RunningCall>>,
    /// Tells callers apart in the budgets.
    caller_hasher: RandomState,
    stopping: AtomicBool,
}

impl Accounts {
    /// `prompt_memory_bytes_max` bounds all kept request bodies together (`--prompt-memory`).
    pub fn new(pool: Pool, observer: Arc<dyn Observer>, prompt_memory_bytes_max: usize) -> Accounts {
        let bounds = ResponseBounds::default();
        Accounts {
            pool,
            observer,
            counters: Counters::default(),
            prompts: MemoryBudget::new(prompt_memory_bytes_max),
            backlog: MemoryBudget::new(bounds.backlog_bytes),
            responses: MemoryBudget::new(bounds.response_memory_bytes),
            bounds,
            drift: Drift::default(),
            models: ModelsByDeployment::default(),
            sample: SampleRatio::default(),
            response_ids: ResponseIds::default(),
            ended: Batcher::idle(),
            caller_hasher: RandomState::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Lets responses hold so much and no more.
    #[must_use]
    pub fn within(self, bounds: ResponseBounds) -> Accounts {
        let backlog = MemoryBudget::new(bounds.backlog_bytes);
        let responses = MemoryBudget::new(bounds.response_memory_bytes);
        Accounts { bounds, backlog, responses, ..self }
    }

    /// Counts the prompts of this part of the calls whose usage the service reports
    /// (`--drift-sample`); without it, of none.
    #[must_use]
    pub fn sampling(self, sample: SampleRatio) -> Accounts {
        Accounts { sample, ..self }
    }

    /// Leaves what follows the end of a call (its event, log line and metrics, its place in the ledger)
    /// to a thread of its own; without it, the network threads do that.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn settling_apart(self) -> io::Result<Accounts> {
        let ended = Batcher::start("tw-settle", |call: Arc<dyn RunningCall>| call.conclude())?;
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

    /// Memory that responses waiting for the counting pool pin now.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.used_bytes()
    }

    /// Memory of responses that are held now to be read as a whole, beside the first 16 KiB of each.
    pub fn response_memory_bytes(&self) -> usize {
        self.responses.used_bytes()
    }

    /// From now on a call that is cut short ended because the process stops, and not because its
    /// client left.
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

    /// The share of the budgets that a caller's calls have together.
    pub(super) fn share_of(&self, caller: &str) -> BudgetShare {
        BudgetShare::of_hash(self.caller_hasher.hash_one(caller))
    }

    /// The reason why a call ends that is dropped half-way.
    pub(super) fn interrupted(&self) -> Ending {
        if self.is_stopping() { Ending::Shutdown } else { Ending::ClientDisconnect }
    }

    /// Runs the work of a meter or counter. Its panic is counted and goes no further: `None`.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    /// Makes room for a prompt that may be needed; samples give way.
    pub(super) fn try_keep_prompt(&self, share: BudgetShare, bytes: usize) -> bool {
        let add = || self.prompts.try_add(share, bytes);
        add() || (self.pool.cancel_background() && add())
    }

    /// Holds the numbers of a call against those of the service, and labels them for what its rules are worth.
    pub(super) fn check(&self, usage: &mut Usage, checks: &Checks) {
        for (side, check) in checks.sides() {
            if let (Some(rules), Some(residual)) = (check.class, check.residual)
                && let Some(kind) = NumberKind::of(&usage.target, side, rules)
            {
                self.compare(kind, residual);
            }
        }
        self.drift.label(&mut usage.accounting, checks, &usage.target);
    }

    /// Takes one comparison in.
    pub(super) fn compare(&self, kind: NumberKind, residual: i64) {
        self.observer.compared(&self.drift.compare(kind, residual));
    }

    /// Gives an event to the ledger, or to the sums if its call had no place there.
    pub(super) fn hand_over(&self, opened: Option<OpenCall>, settled: Settled, deferral: Option<Deferral>) {
        self.models.learn(&settled.usage);
        match opened {
            Some(opened) => {
                self.observer.settled(&settled);
                match deferral {
                    Some(deferral) => opened.settle_deferral(settled, deferral),
                    None => opened.settle(settled),
                }
                self.counters.calls_settled.fetch_add(1, Ordering::AcqRel);
            }
            None => {
                if let Some(deferral) = &deferral {
                    self.observer.deferral(&settled, deferral);
                }
                self.observer.summed(&settled);
                self.counters.calls_summed.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("counters", &self.counters).finish_non_exhaustive()
    }
}
