//! The prompt of a call that is open for long, counted before it is known whether the service reports it.
//!
//! A call that a crash cuts off has no other number for its prompt. Checkpoints tell the early
//! count. The event of a call that ends is the same with it and without: reported numbers win,
//! and an early count stands in for the later one only where it was made by the same model's rules.

use smol_str::SmolStr;

use super::billing::Billing;
use super::call::Meter;
use super::prompt_state::{PromptNeed, PromptState};
use crate::prompt::PromptCount;

impl Meter {
    /// The model to count the prompt by now, for a checkpoint; `known` is asked where neither request nor
    /// response tell. `None`: there is nothing to count, it is counted, or no model is known. Another one
    /// may be asked for once the response names its model.
    pub fn early_need(&self, known: impl FnOnce() -> Option<SmolStr>) -> Option<SmolStr> {
        let reported = self.reported().is_some_and(|reported| reported.input.is_some());
        let open = self.ended.is_none() && self.billing(None) == Billing::Answered;
        if reported || !open || !self.request_ended || !self.is_computed() || self.is_of_agent() {
            return None;
        }
        let model = self.counting_model().or_else(known)?;
        match &self.prompt {
            PromptState::Waiting => Some(model),
            PromptState::Early { by, .. } if *by != model => Some(model),
            PromptState::Early { .. }
            | PromptState::NotKept
            | PromptState::Unseen
            | PromptState::Overloaded
            | PromptState::Counted(_) => None,
        }
    }

    /// The response has named the model that gives it.
    pub fn names_model(&self) -> bool {
        self.body.response.facts.model.is_some()
    }

    /// The prompt has been counted by a model's rules, which may not be the right ones yet.
    pub fn prompt_counted_early(&mut self, count: PromptCount, by: SmolStr) {
        if matches!(self.prompt, PromptState::Waiting | PromptState::Early { .. }) {
            let count = PromptCount { parts: Vec::new(), ..count }; // they are not asked for
            self.prompt = PromptState::Early { count, by };
            self.adopt_early();
        }
    }

    /// Takes the early count for the one that is needed now, if it was made by that model's rules. To be
    /// called before [`Meter::prompt_need`], which then asks for none.
    pub fn adopt_early(&mut self) {
        let PromptState::Early { by, .. } = &self.prompt else { return };
        if self.prompt_need() == (PromptNeed::Count { model: by.clone() })
            && let PromptState::Early { count, .. } =
                std::mem::replace(&mut self.prompt, PromptState::Waiting)
        {
            self.prompt_counted(count);
        }
    }
}
