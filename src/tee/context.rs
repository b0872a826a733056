//! The part of a call that stays the same as long as it runs, and that is known without its lock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use metering::meter::Representation;
use metering::usage::Api;
use smol_str::SmolStr;
use uuid::Uuid;

use super::accounts::Accounts;
use super::budget::BudgetShare;
use super::capture_report::CaptureReport;
use super::running_calls::RunningCall;
use super::running_calls::RunningCalls;
use crate::pool::Lane;

/// Bytes that one response may hold to be read as a whole beside all others: every short one does. The rest is
/// part of [`super::accounts::ResponseBounds`].
const RESPONSE_BYTES_FREE: usize = 16 << 10;

/// The surroundings of a call: what it is of, what it shares with others, and what it holds of that.
pub(super) struct CallContext {
    pub(super) id: Uuid,
    pub(super) api: Api,
    pub(super) representation: Representation,
    /// When the request's head had arrived.
    pub(super) began: Instant,
    /// The call has a place in the ledger, so its checkpoints are stored.
    pub(super) on_record: bool,
    /// It looks at work that another call began, and has no event of its own.
    pub(super) polls: bool,
    /// Tells the fate of its content; `None`: none is captured.
    pub(super) capture: Option<Arc<dyn CaptureReport>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) running_calls: Arc<RunningCalls>,
    /// The share of the budgets that the call's caller has.
    pub(super) share: BudgetShare,
    /// The call itself, for the queues that it is put in.
    pub(super) call: Weak<dyn RunningCall>,
    /// The bytes that the meter holds of the response, as far as they count; changed only by who has the meter.
    pub(super) response_bytes: AtomicUsize,
    /// The response is only read for what it reports. Only set under the lock; the pool looks in mid-work.
    pub(super) count_given_up: AtomicBool,
}

impl CallContext {
    /// Puts the call in the pool's queue of a lane. False: the pool takes no more.
    pub(super) fn submit(&self, lane: Lane) -> bool {
        self.call.upgrade().is_some_and(|call| self.accounts.pool.submit(call, lane).is_ok())
    }

    /// Has the prompt counted early, by a model's rules, when the pool has nothing else to do. False: never.
    pub(super) fn submit_early_count(&self, model: SmolStr) -> bool {
        let Some(call) = self.call.upgrade() else { return false };
        self.accounts.pool.submit_background_first(Box::new(move || call.count_early(model)))
    }

    /// Has the call checkpointed as soon as its thread has served its streams.
    pub(super) fn expedite_checkpoint(&self) {
        if let Some(call) = self.call.upgrade() {
            self.running_calls.expedite(call);
        }
    }

    /// Has the call checkpointed at the next beat, since its prompt was counted.
    pub(super) fn checkpoint_at_beat(&self) {
        if let Some(call) = self.call.upgrade() {
            self.running_calls.checkpoint_at_beat(call);
        }
    }

    /// The response is not counted any more.
    pub(super) fn is_count_given_up(&self) -> bool {
        self.count_given_up.load(Ordering::Acquire)
    }

    /// Takes memory for a prompt, if there is any.
    pub(super) fn try_keep_prompt(&self, bytes: usize) -> bool {
        self.accounts.try_keep_prompt(self.share, bytes)
    }

    /// Gives memory of the prompt back.
    pub(super) fn release_prompt(&self, bytes: usize) {
        self.accounts.prompts.release(self.share, bytes);
    }

    /// Takes memory for bytes of the response that wait for the pool, if there is any.
    pub(super) fn try_add_backlog(&self, bytes: usize) -> bool {
        self.accounts.backlog.try_add(self.share, bytes)
    }

    /// Gives memory of the backlog back.
    pub(super) fn release_backlog(&self, bytes: usize) {
        self.accounts.backlog.release(self.share, bytes);
    }

    /// Notes that the meter holds so much of the response. False: it must not.
    pub(super) fn weigh(&self, held_bytes: usize) -> bool {
        let (budget, bytes) = (&self.accounts.responses, held_bytes.saturating_sub(RESPONSE_BYTES_FREE));
        let before = self.response_bytes.load(Ordering::Acquire);
        let fits = bytes <= before || budget.try_add(self.share, bytes - before);
        if fits {
            self.response_bytes.store(bytes, Ordering::Release);
            budget.release(self.share, before.saturating_sub(bytes));
        }
        fits
    }

    /// Gives all memory back that the meter held of the response.
    pub(super) fn release_response(&self) {
        self.accounts.responses.release(self.share, self.response_bytes.swap(0, Ordering::AcqRel));
    }
}
