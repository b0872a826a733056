//! The prompt of a call: whether its request's body has to be kept and counted, and by which model's rules.

use bytes::Bytes;
use smol_str::SmolStr;

use super::billing::Billing;
use super::call::Meter;
use super::check::PromptSample;
use super::prompt_state::{PromptNeed, PromptState};
use crate::api::Api;
use crate::prompt::{BillPart, PromptCount};
use crate::usage::IncludeUsage;

impl Meter {
    /// The need for the request body. It changes as the call goes on; worth asking after each piece of the
    /// response while it says [`PromptNeed::Keep`].
    pub fn prompt_need(&self) -> PromptNeed {
        let settled = !matches!(self.prompt, PromptState::Waiting | PromptState::Early { .. });
        let reported = self.reported().is_some_and(|reported| reported.input.is_some());
        // Of work that goes on after its call only the service tells the cost, even if it ends with the call.
        let of_work = !self.blind && self.work().is_some();
        if settled || reported || !self.is_computed() || self.is_of_agent() || of_work {
            return PromptNeed::No;
        }
        if !self.request_ended {
            return if self.ended.is_some() { PromptNeed::No } else { PromptNeed::Keep };
        }
        let count =
            |model: Option<SmolStr>| model.map_or(PromptNeed::No, |model| PromptNeed::Count { model });
        match self.billing(self.ended) {
            Billing::Nothing | Billing::MostLikelyNothing | Billing::Unmetered | Billing::PerResponse => {
                PromptNeed::No
            }
            Billing::PerhapsPrompt | Billing::PerhapsBoth => count(self.counting_model()),
            Billing::Answered if self.ended.is_some() => count(self.counting_model()),
            Billing::Answered
                if self.body.is_stream() && (!self.usage_awaited() || self.body.response.facts.done) =>
            {
                match self.body.response.facts.model {
                    Some(_) => count(self.counting_model()),
                    None => PromptNeed::Keep,
                }
            }
            Billing::Answered => PromptNeed::Keep,
        }
    }

    /// The stream will end with the service's usage, if nothing goes wrong.
    fn usage_awaited(&self) -> bool {
        let always = self.draft.target.api.always_ends_with_usage();
        always || self.facts.include_usage || self.include_usage == IncludeUsage::Injected
    }

    /// The prompt could not be kept: the input is unknown, reason `prompt_not_kept`.
    pub fn prompt_not_kept(&mut self) {
        self.prompt = PromptState::NotKept;
    }

    /// There is no time to count the prompt: the input is unknown, reason `meter_overload`.
    pub fn prompt_overloaded(&mut self) {
        self.prompt = PromptState::Overloaded;
    }

    /// The service answered with an error: if it bills anything, then the prompt, and that is not certain.
    pub fn is_refused(&self) -> bool {
        self.status.is_some() && self.billing(self.ended) != Billing::Answered
    }

    /// The prompt has been counted. Its parts are not kept: they are returned, as the date of the response
    /// has them.
    pub fn prompt_counted(&mut self, count: PromptCount) -> Vec<BillPart> {
        let (stated, functions) = (&self.body.response.facts, self.facts.functions > 0);
        let mut count = match (&stated.model, stated.created) {
            (Some(model), Some(created)) => {
                count.answered_at(self.draft.target.api, model, created, functions)
            }
            _ => count,
        };
        let parts = std::mem::take(&mut count.parts);
        self.prompt = PromptState::Counted(count);
        parts
    }

    /// A number to hold a count of the prompt against, now that the service has reported.
    pub fn prompt_sample(&self) -> Option<PromptSample> {
        let reported = self.reported()?.input?;
        let answered = self.status.is_some_and(|status| status.is_success());
        let known = self.body.response.facts.rules.is_some() && self.is_computed() && !self.is_of_agent();
        let waiting =
            matches!(self.prompt, PromptState::Waiting | PromptState::Early { .. }) && self.request_ended;
        (answered && known && waiting).then(|| PromptSample { target: self.target(), reported })
    }

    /// The response does not say which model gave it; or what it says is the deployment's name.
    pub(super) fn is_model_assumed(&self) -> bool {
        let stated = &self.body.response.facts;
        let unknown = self.draft.target.api.may_name_deployment() && stated.rules.is_none();
        stated.model.is_none() || (unknown && self.assumed_model().is_some())
    }

    /// The model whose rules the prompt is counted by.
    pub(super) fn counting_model(&self) -> Option<SmolStr> {
        if self.is_model_assumed() { self.assumed_model() } else { self.body.response.facts.model.clone() }
    }

    /// The model to go by where no response names one: the one that we were told, else the one that the
    /// request asks for, else one that has the deployment's name.
    pub(super) fn assumed_model(&self) -> Option<SmolStr> {
        let names = [&self.assumed, &self.facts.model, &self.draft.target.deployment];
        names
            .into_iter()
            .flatten()
            .find(|name| crate::prompt::rules(self.draft.target.api, name).is_some())
            .cloned()
    }
}

/// Counts the prompt of a request under a model's rules. Heavy: never on the data path.
pub fn count_prompt(api: Api, body: &[Bytes], model: &str) -> PromptCount {
    match body {
        [whole] => crate::prompt::count(api, whole, model),
        pieces => crate::prompt::count(api, &pieces.concat(), model),
    }
}
