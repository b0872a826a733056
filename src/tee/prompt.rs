//! The request body of a call: kept for as long as it may have to be counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smol_str::SmolStr;

use super::call::{Call, State};
use super::early;
#[cfg(test)]
use super::tests::Meter;
use crate::pool::{Lane, Task};
#[cfg(not(test))]
use metering::meter::Meter;
use metering::meter::PromptNeed;

/// What is known of the request body.
#[derive(Debug)]
pub(super) enum Prompt {
    /// Still arriving, all of it kept so far.
    Arriving,
    /// All of it is kept; whether it must be counted is not known.
    Whole,
    /// To be counted under this model's rules, by the pool.
    Count(SmolStr),
    /// Not kept, or let go of.
    Gone,
}

/// Why a prompt that is needed is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// There is no memory to keep it.
    NotKept,
    /// The counting threads have no time for it.
    Overload,
}

impl Loss {
    pub(super) fn tell(self, meter: &mut Meter) {
        match self {
            Loss::NotKept => meter.prompt_not_kept(),
            Loss::Overload => meter.prompt_overloaded(),
        }
    }
}

impl Call {
    /// Asks the meter whether the prompt is still needed, once it is whole.
    pub(super) fn consider_prompt(self: &Arc<Self>, state: &mut State) {
        if !matches!(state.prompt_state, Prompt::Whole) || state.owes_reading {
            return;
        }
        self.tell_early(state);
        match self.look(state, early::need) {
            Some(PromptNeed::No) => {
                self.let_go_or_sample(state);
                // The service has reported: that is worth a checkpoint of its own.
                self.live.hurry(Arc::clone(self));
            }
            Some(PromptNeed::Count { model }) => {
                state.prompt_state = Prompt::Count(model);
                if !self.enqueue_prompt(state) {
                    self.lose_prompt(state, Loss::Overload);
                }
            }
            Some(PromptNeed::Keep) | None => self.consider_early(state),
        }
    }

    /// The meter knows that the call is over, and so what the prompt is needed for.
    pub(super) fn decide_prompt(self: &Arc<Self>, state: &mut State) {
        self.tell_early(state);
        let need = if state.facts.unsent { None } else { self.look(state, early::need) };
        match (&state.prompt_state, need) {
            // One that waits to be counted may not be needed any more.
            (_, Some(PromptNeed::No)) => self.let_go_or_sample(state),
            (Prompt::Count(_), Some(_)) => {}
            (_, None | Some(PromptNeed::Keep)) => self.let_go_of_prompt(state),
            (Prompt::Whole, Some(PromptNeed::Count { model })) => state.prompt_state = Prompt::Count(model),
            (Prompt::Arriving, Some(_)) => self.lose_prompt(state, Loss::NotKept),
            (Prompt::Gone, Some(_)) => {}
        }
    }

    /// Puts the call in the pool's queue of prompts, unless it is there: in the last one if the service
    /// refused the call, since that most likely is not billed. False: the pool takes no more.
    pub(super) fn enqueue_prompt(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.prompt_queued {
            let refused = self.look(state, |meter| meter.is_refused()) == Some(true);
            let lane = if refused { Lane::Refused } else { Lane::Prompt };
            let task = Arc::clone(self) as Arc<dyn Task>;
            state.prompt_queued = self.accounts.pool.submit(task, lane).is_ok();
        }
        state.prompt_queued
    }

    /// The prompt is needed but cannot be kept or counted.
    pub(super) fn lose_prompt(&self, state: &mut State, loss: Loss) {
        if !matches!(state.prompt_state, Prompt::Gone) {
            let counter = match loss {
                Loss::NotKept => &self.accounts.counters.prompts_not_kept,
                Loss::Overload => &self.accounts.counters.meter_overload,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            state.owes_prompt = Some(loss);
            self.tell_owed(state);
        }
        self.let_go_of_prompt(state);
    }

    pub(super) fn let_go_of_prompt(&self, state: &mut State) {
        state.prompt_state = Prompt::Gone;
        state.owes_reading = false; // there is nothing to be read
        let (_, pinned_bytes) = state.prompt.take();
        self.accounts.prompts.release(self.holder, pinned_bytes);
    }
}
