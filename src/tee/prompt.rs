//! The request body of a call: kept for as long as it may have to be counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smol_str::SmolStr;

use super::call::{Call, Seat, State};
use super::early;
#[cfg(test)]
use super::tests::Meter;
#[cfg(not(test))]
use crate::meter::Meter;
use crate::meter::PromptNeed;

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
                if !self.enqueue(state) {
                    self.lose_prompt(state);
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
            (Prompt::Count(_), Some(_)) => {}
            (_, Some(PromptNeed::No)) => self.let_go_or_sample(state),
            (_, None | Some(PromptNeed::Keep)) => self.let_go_of_prompt(state),
            (Prompt::Whole, Some(PromptNeed::Count { model })) => state.prompt_state = Prompt::Count(model),
            (Prompt::Arriving, Some(_)) => self.lose_prompt(state),
            (Prompt::Gone, Some(_)) => {}
        }
    }

    /// The prompt is needed but cannot be kept or counted.
    pub(super) fn lose_prompt(&self, state: &mut State) {
        if !matches!(state.prompt_state, Prompt::Gone) {
            self.accounts.counters.prompts_not_kept.fetch_add(1, Ordering::Relaxed);
            match state.meter {
                Seat::Here(_) => drop(self.look(state, Meter::prompt_not_kept)),
                Seat::Away => state.owes_prompt = true,
                Seat::Lost => {}
            }
        }
        self.let_go_of_prompt(state);
    }

    pub(super) fn let_go_of_prompt(&self, state: &mut State) {
        state.prompt_state = Prompt::Gone;
        state.owes_reading = false; // there is nothing to be read
        let (_, pinned_bytes) = state.prompt.take();
        self.accounts.release_prompt(pinned_bytes);
    }
}
