//! From what was seen to the usage event.

use smol_str::SmolStr;

use super::billing::Billing;
use super::call::Meter;
use super::check::{Check, Checks};
use super::ending::Ending;
use crate::prompt::{BillPart, RULES};
use crate::usage::{Progress, Reason, Side, Source, Usage};

impl Meter {
    /// The parts of our count of the response, whatever the service says of it. Empty if there is none.
    pub fn output_parts(&self) -> Vec<BillPart> {
        self.computed_output().parts
    }

    /// All that is known now: the checkpoint of an open call. Its numbers are lower bounds unless the
    /// service has reported.
    pub fn progress(&self) -> (Progress, Checks) {
        let (usage, checks) = self.assess(None);
        let progress = Progress {
            agent: usage.target.agent,
            deployment: usage.target.deployment,
            model_requested: usage.target.model_requested,
            model: usage.target.model,
            service_tier: usage.target.service_tier,
            speed: usage.target.speed,
            inference_geo: usage.target.inference_geo,
            response_id: usage.ids.response_id,
            session_id: usage.ids.session_id,
            request: usage.request,
            tokens: usage.tokens,
            tools: usage.tools,
            units: usage.units,
            accounting: usage.accounting,
            stream: usage.stream,
            deferral: self.deferral(),
        };
        (progress, checks)
    }

    /// The call's final accounting; calls [`Meter::end`] if that has not been done. `timing` is the caller's to
    /// fill in, and `request.status` where no response came.
    pub fn settle(self, ending: Ending) -> Usage {
        self.settle_and_check(ending).0
    }

    /// As [`Meter::settle`], with what the call says of the rules.
    pub fn settle_and_check(mut self, ending: Ending) -> (Usage, Checks) {
        self.end(ending);
        self.assess(self.ended)
    }

    /// The event as it would be now, and what it says of the rules; `None`: the call still runs.
    pub(super) fn assess(&self, ending: Option<Ending>) -> (Usage, Checks) {
        let mut usage = Usage::clone(&self.draft);
        let outcome = ending.map(|ending| self.outcome(ending));
        self.describe(&mut usage, outcome);
        let computed = self.computed_output();
        let (own_input, own_output) = (self.own_input(ending), self.own_output(ending, outcome, &computed));
        let (reported_input, reported_output) = (self.reported_input(), self.reported_output(outcome));
        let checks = Checks {
            input: Check::of(&own_input, reported_input.as_ref()),
            output: Check::of(&own_output, reported_output.as_ref()),
        };
        let (input, output) = (reported_input.unwrap_or(own_input), reported_output.unwrap_or(own_output));
        for side in [&input, &output] {
            debug_assert_eq!(
                side.tokens.is_none(),
                side.source == Source::Unknown,
                "what is unknown is no number"
            );
        }
        let accounting = &mut usage.accounting;
        accounting.rules = SmolStr::new_static(RULES);
        accounting.deferred = self.treatment.is_poll();
        accounting.drained = self.left.is_some_and(|left| left.drained);
        let answered = self.status.is_some_and(|status| status.is_success())
            && self.billing(ending) == Billing::Answered;
        // A prompt may have been counted before the service reported, or not: that is chance, and an
        // exchange has only one event.
        accounting.computed_input = input.computed_tokens();
        accounting.computed_output = computed.tokens.filter(|_| answered).or(output.computed_tokens());
        (accounting.input_source, accounting.input_quality) = (input.source, input.quality);
        (accounting.output_source, accounting.output_quality) = (output.source, output.quality);
        for (side, number) in [(Side::Input, &input), (Side::Output, &output)] {
            number.reasons.iter().for_each(|reason| accounting.add_reason(side, *reason));
        }
        if self.is_served_by_another() {
            accounting.add_reason(Side::Input, Reason::DeploymentDiffers);
            accounting.add_reason(Side::Output, Reason::DeploymentDiffers);
        }
        let counted = input.source == Source::Computed || computed.tokens.is_some();
        accounting.tokenizer =
            self.rules_model().filter(|_| counted).map(|model| SmolStr::new_static(model.encoding.as_str()));
        usage.tokens = self.tokens(&input, &output, &computed);
        if !self.blind && self.reports() {
            usage.tools = self.body.response.facts.charged.tools();
        }
        usage.units = self.units(ending);
        if let Some(reported) = self.reported() {
            usage.accounting.reported_input = reported.input;
            usage.accounting.reported_output = reported.output;
        }
        (usage, checks)
    }
}
