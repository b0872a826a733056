//! Both numbers of a call: reported, else by the service's rules, else unknown, each with its reasons.

use super::billing::Billing;
use super::call::Meter;
use super::ending::Ending;
use super::frames_read::FramesRead;
use super::output::{self, Computed, MeteredExchange};
use super::prompt_state::PromptState;
use super::side::{SideNumber, not_billed};
use crate::api::Treatment;
use crate::chunk::Reported;
use crate::prompt::{self, PromptCount};
use crate::usage::{Outcome, Quality, Reason, Source, Tokens};

impl Meter {
    /// The service's word, if it counts.
    pub(super) fn reported(&self) -> Option<&Reported> {
        let response = &self.body.response;
        // Zeros everywhere are no word, but where something else is or may be billed, and the response is whole.
        let in_units =
            || self.draft.target.api.may_use_no_tokens() || response.facts.charged.is_told_in_units();
        let counts = response.is_whole_success() && in_units();
        let zeros = response.facts.zeros.as_deref().filter(|_| counts);
        response.facts.reported.as_ref().or(zeros).filter(|_| !self.blind && self.reports())
    }

    /// The reported numbers are the event's own.
    pub(super) fn reports(&self) -> bool {
        let own = matches!(self.treatment, Treatment::Metered | Treatment::ReportedOnly);
        (own && !self.is_deferred()) || self.treatment.is_poll()
    }

    pub(super) fn tokens(&self, input: &SideNumber, output: &SideNumber, computed: &Computed) -> Tokens {
        let mut tokens = Tokens { input: input.tokens, output: output.tokens, ..Tokens::default() };
        let Some(reported) = self.reported() else {
            tokens.output_reasoning = computed.reasoning.filter(|_| output.source == Source::Computed);
            return tokens;
        };
        tokens.total = reported.total;
        tokens.input_cached = reported.input_cached;
        tokens.input_cached_text = reported.input_cached_text;
        tokens.input_cached_audio = reported.input_cached_audio;
        tokens.input_cached_image = reported.input_cached_image;
        tokens.input_cache_write = reported.input_cache_write;
        tokens.input_cache_write_long = reported.input_cache_write_long;
        tokens.input_audio = reported.input_audio;
        tokens.input_image = reported.input_image;
        tokens.input_text = reported.input_text;
        tokens.output_reasoning = reported.output_reasoning;
        tokens.output_audio = reported.output_audio;
        tokens.output_image = reported.output_image;
        tokens.output_text = reported.output_text;
        tokens.output_prediction_accepted = reported.output_prediction_accepted;
        tokens.output_prediction_rejected = reported.output_prediction_rejected;
        tokens.other.clone_from(&reported.other);
        tokens
    }

    pub(super) fn reported_input(&self) -> Option<SideNumber> {
        let reported = self.reported()?;
        let side = if reported.input_open {
            SideNumber::reported(reported.input?, Quality::LowerBound, vec![Reason::UnknownFields])
        } else if self.misses_lines() {
            SideNumber::reported(reported.input?, Quality::LowerBound, vec![Reason::Unreadable])
        } else {
            SideNumber::reported(reported.input?, Quality::Exact, vec![])
        };
        let is_sum = self.body.response.facts.is_sum();
        Some(side.summed(is_sum).doubted(reported.input_differs))
    }

    /// Rules of prompt and response are known. Of work that goes on after the call only the service tells the cost; a
    /// stream may still come to its end.
    pub(super) fn is_computed(&self) -> bool {
        let goes_on = self.is_deferred() && (self.ended.is_some() || !self.body.is_stream());
        let metered = self.treatment == Treatment::Metered && !goes_on;
        metered && self.draft.target.api.rules().is_some()
    }

    /// Our number of the prompt where the service says nothing.
    pub(super) fn own_input(&self, ending: Option<Ending>) -> SideNumber {
        if let Some(side) = self.of_work() {
            return side;
        }
        let billing = self.billing(ending);
        if let Some(side) = self.not_billed(billing) {
            return side;
        }
        if billing == Billing::Unmetered {
            return SideNumber::unknown(vec![Reason::Unmetered]);
        }
        if !self.is_computed() {
            return self.not_reported(ending);
        }
        if self.is_of_agent() {
            return SideNumber::unknown(vec![Reason::ServerState]);
        }
        match &self.prompt {
            PromptState::Unseen => self.unseen_input(ending, billing),
            PromptState::NotKept => SideNumber::unknown(vec![Reason::PromptNotKept]),
            PromptState::Overloaded => SideNumber::unknown(vec![Reason::MeterOverload]),
            PromptState::Counted(count) => self.counted_input(count, billing),
            PromptState::Early { count, by }
                if ending.is_none() && self.counting_model().is_none_or(|model| model == *by) =>
            {
                self.counted_input(count, billing)
            }
            _ if ending.is_none() => SideNumber::unknown(vec![]),
            _ if !self.request_ended && self.caller_idle => {
                SideNumber::unknown(vec![Reason::RequestCut, Reason::CallerIdle])
            }
            _ if !self.request_ended => SideNumber::unknown(vec![Reason::RequestCut]),
            _ if self.rules_model().is_none() => SideNumber::unknown(vec![Reason::UnknownModel]),
            PromptState::Waiting | PromptState::Early { .. } => {
                SideNumber::unknown(vec![Reason::PromptNotCounted])
            }
        }
    }

    /// A call that the service does not charge for, or whose responses it charges for one by one.
    fn not_billed(&self, billing: Billing) -> Option<SideNumber> {
        let mut side = not_billed(billing)?;
        if billing == Billing::PerResponse && self.frames != FramesRead::All {
            if self.frames == FramesRead::NotTheServices {
                return Some(SideNumber::unknown(vec![Reason::Unreadable])); // there may have been responses
            }
            side.reasons.push(Reason::Unreadable);
        }
        Some(side)
    }

    /// The prompt of a response in a session, which only the service can tell.
    fn unseen_input(&self, ending: Option<Ending>, billing: Billing) -> SideNumber {
        let why = match billing {
            Billing::Answered => self.not_reported(ending).reasons,
            _ => vec![Reason::BillingUncertain],
        };
        let kept_there = self.facts.server_state.then_some(Reason::ServerState);
        SideNumber::unknown(why.into_iter().chain(kept_there).collect())
    }

    /// Why a response in a session has no number, unless the service has settled it.
    fn cut_in_session(&self, ending: Option<Ending>) -> Option<Vec<Reason>> {
        let is_cut = matches!(self.prompt, PromptState::Unseen) && !self.body.response.whole;
        let ending = match ending {
            _ if !is_cut => return None,
            _ if self.frames != FramesRead::All => return Some(vec![Reason::Unreadable]),
            Some(ending) => ending,
            None => return Some(vec![]), // it runs
        };
        Some(Reason::cut_by(self.outcome(ending)).into_iter().collect())
    }

    /// A side that only the service could have told of, and did not.
    pub(super) fn not_reported(&self, ending: Option<Ending>) -> SideNumber {
        if let Some(reasons) = self.cut_in_session(ending) {
            return SideNumber::unknown(reasons);
        }
        SideNumber::unknown(match () {
            () if self.treatment == Treatment::Elsewhere => vec![Reason::UsageElsewhere],
            // Where nothing could be known.
            () if !self.reports() => vec![Reason::Unmetered],
            // It told of something else.
            () if !self.blind && self.body.response.facts.charged.is_told_in_units() => vec![],
            () if self.video_ms().is_some() => vec![],
            () => vec![Reason::NoUsage],
        })
    }

    fn counted_input(&self, count: &PromptCount, billing: Billing) -> SideNumber {
        let mut reasons = count.reasons.clone();
        if billing != Billing::Answered {
            reasons.push(Reason::BillingUncertain);
        }
        if self.is_model_assumed() && count.tokens.is_some() {
            reasons.push(Reason::ModelAssumed);
        }
        let response = &self.body.response;
        if self.rules_model().is_some_and(|model| output::usage_was_divided(response, model)) {
            reasons.push(Reason::DividedUsage);
        }
        let quality = if reasons.is_empty() { Quality::Exact } else { Quality::Estimated };
        SideNumber::computed(count.tokens, quality, reasons).by(count.class)
    }

    /// Not all of the response was seen; and by what it was cut, once that is known.
    fn cut(&self, outcome: Option<Outcome>) -> (bool, impl Iterator<Item = Reason> + use<>) {
        let cut = !self.body.response.is_whole_success();
        let bound = self.left.and_then(|left| left.stopped);
        let by = outcome.filter(|_| cut).map(|outcome| {
            // It was the reading that was cut, not the response.
            let missed = || self.missed().unwrap_or(Reason::Unreadable);
            let idle = (self.caller_idle && outcome == Outcome::Timeout).then_some(Reason::CallerIdle);
            [Some(Reason::cut_by(outcome).unwrap_or_else(missed)), idle, bound]
        });
        (cut, by.into_iter().flatten().flatten())
    }

    /// Why some of the response was not read, though it may have come.
    fn missed(&self) -> Option<Reason> {
        match () {
            () if self.frames == FramesRead::NotTheServices => Some(Reason::Unreadable),
            () if self.overloaded => Some(Reason::MeterOverload),
            () if self.decoder.is_bad() => Some(Reason::Encoding),
            () if self.body.response.too_long => Some(Reason::TooLong),
            () => None,
        }
    }

    /// Some of the response was not read.
    pub(super) fn has_missed(&self) -> bool {
        self.missed().is_some()
    }

    pub(super) fn reported_output(&self, outcome: Option<Outcome>) -> Option<SideNumber> {
        let reported = self.reported()?;
        let (cut, cut_by) = self.cut(outcome);
        // A count that came while text was still coming is a running total.
        let partial = cut && !self.body.response.facts.reported_last;
        let quality = if partial { Quality::LowerBound } else { Quality::Exact };
        let side = if self.misses_lines() {
            SideNumber::reported(reported.output?, Quality::LowerBound, vec![Reason::Unreadable])
        } else {
            SideNumber::reported(reported.output?, quality, cut_by.filter(|_| partial).collect())
        };
        let is_sum = self.body.response.facts.is_sum();
        Some(side.summed(is_sum).doubted(reported.output_differs))
    }

    /// Our number of the response where the service says nothing.
    pub(super) fn own_output(
        &self,
        ending: Option<Ending>,
        outcome: Option<Outcome>,
        computed: &Computed,
    ) -> SideNumber {
        let api = self.draft.target.api;
        if let Some(side) = self.of_work() {
            return side;
        }
        let (cut, cut_by) = self.cut(outcome);
        let billing = self.billing(ending);
        if let Some(side) = self.not_billed(billing) {
            return side;
        }
        match billing {
            // There is no output to be billed, however it ends.
            _ if !api.bills_output() && self.reports() && billing != Billing::Unmetered => {
                return SideNumber::computed(Some(0), Quality::Exact, vec![]);
            }
            Billing::PerhapsPrompt => return SideNumber::computed(Some(0), Quality::Exact, vec![]),
            Billing::PerhapsBoth => return SideNumber::unknown(vec![Reason::BillingUncertain]),
            _ => {}
        }
        if billing == Billing::Unmetered {
            return SideNumber::unknown(vec![Reason::Unmetered]);
        }
        if !self.is_computed() {
            return self.not_reported(ending);
        }
        let mut reasons = computed.reasons.clone();
        let guessed = reasons.contains(&Reason::UnknownModel) || reasons.contains(&Reason::ModelAssumed);
        let quality = if (cut || computed.lower_bound) && !guessed {
            Quality::LowerBound
        } else if reasons.is_empty() && !cut {
            Quality::Exact
        } else {
            Quality::Estimated
        };
        reasons.splice(0..0, cut_by);
        SideNumber::computed(computed.tokens, quality, reasons).by(computed.class)
    }

    /// Our own count of the response, whatever the service says of it.
    pub(super) fn computed_output(&self) -> Computed {
        let unknown = |reason| Computed { reasons: vec![reason], ..Computed::default() };
        let rules = self.draft.target.api.rules().filter(|_| self.is_computed());
        let Some(rules) = rules else { return Computed::default() };
        if !self.draft.target.api.bills_output() {
            return Computed::nothing();
        }
        match self.status {
            // Nothing was said, in whatever vocabulary.
            None => return Computed { tokens: Some(0), ..Computed::default() },
            Some(status) if !status.is_success() => return Computed::default(),
            Some(_) => {}
        }
        if let Some(missed) = self.missed() {
            return unknown(missed);
        }
        let response = &self.body.response;
        if response.reader.is_empty() {
            return self.empty_output();
        }
        let Some(model) = self.rules_model() else { return unknown(Reason::UnknownModel) };
        // Whether a prompt was counted that the service reports is chance, and must not be seen.
        let reported = self.reported().is_some_and(|reported| reported.input.is_some());
        let prompt_tokens = match &self.prompt {
            PromptState::Counted(count) if self.facts.echo && !reported => count.tokens,
            _ => None,
        };
        let exchange = MeteredExchange {
            stated: &response.facts,
            model,
            facts: &self.facts,
            rules: self.rules,
            whole: response.is_whole_success(),
            prompt_tokens,
        };
        let mut computed = output::count(rules, &response.reader, exchange);
        if self.is_model_assumed() {
            computed.because(Reason::ModelAssumed);
        }
        if self.is_of_agent() {
            computed.because(Reason::HostedTool);
        }
        if response.parse_errors > 0 {
            computed.because(Reason::Unreadable);
        }
        computed
    }

    /// Our own count of a response in which nothing was found.
    fn empty_output(&self) -> Computed {
        let response = &self.body.response;
        let unknown = |reason| Computed { reasons: vec![reason], ..Computed::default() };
        match () {
            () if response.parse_errors > 0 => unknown(Reason::Unreadable),
            () if response.reader.is_in_background() => unknown(Reason::Background),
            () if response.is_whole_success() => unknown(Reason::NoChoices),
            // Of a document that is cut nothing was read, of a stream all that there was.
            () => Computed { tokens: self.body.is_stream().then_some(0), ..Computed::default() },
        }
    }

    /// The rules of the model that the response named, else of the one that was asked for.
    pub(super) fn rules_model(&self) -> Option<prompt::Model> {
        let api = self.draft.target.api;
        match &self.body.response.facts.model {
            Some(name) if !self.is_model_assumed() => prompt::rules(api, name),
            _ => prompt::rules(api, &self.assumed_model()?),
        }
    }
}
