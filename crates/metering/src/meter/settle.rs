//! From what was seen to the final event: outcome, numbers, where each comes from and how good it is.

use http::StatusCode;
use smol_str::SmolStr;

use super::billing::Billing;
use super::check::{Check, Checks};
use super::output::{self, Computed, Exchange};
use super::{Ending, Meter, Prompt, PromptCount, Treatment};
use crate::prompt::{self, RULES};
use crate::usage::{
    Api, IncludeUsage, Injection, Outcome, Quality, Reason, RuleClass, Side, Source, Target, Tokens, Usage,
};

/// `stream.finish_reasons` holds at most this many.
const FINISH_REASONS_MAX: usize = 16;

/// One side's final number.
#[derive(Debug, Default)]
pub(super) struct SideNumber {
    pub(super) tokens: Option<u64>,
    pub(super) source: Source,
    pub(super) quality: Quality,
    reasons: Vec<Reason>,
    /// The rules that computed it, if any did.
    pub(super) class: Option<RuleClass>,
}

impl SideNumber {
    fn computed(tokens: Option<u64>, quality: Quality, reasons: Vec<Reason>) -> SideNumber {
        match tokens {
            Some(_) => SideNumber { tokens, source: Source::Computed, quality, reasons, class: None },
            None => SideNumber::unknown(reasons),
        }
    }

    fn reported(tokens: u64, quality: Quality, reasons: Vec<Reason>) -> SideNumber {
        SideNumber { tokens: Some(tokens), source: Source::Reported, quality, reasons, class: None }
    }

    /// Numbers of this side contradict each other; which of them is right is not said.
    fn doubted(mut self, differs: bool) -> SideNumber {
        if differs {
            self.quality = Quality::Estimated;
            self.reasons.push(Reason::TotalDiffers);
        }
        self
    }

    fn unknown(reasons: Vec<Reason>) -> SideNumber {
        SideNumber { reasons, ..SideNumber::default() }
    }

    /// Names the rules that computed it.
    fn by(self, class: Option<RuleClass>) -> SideNumber {
        SideNumber { class, ..self }
    }
}

impl Meter {
    /// How the call ended; `None` while it runs.
    fn outcome(&self, ending: Ending) -> Outcome {
        let seen = &self.body.seen;
        let failed = seen.answer.error.is_some();
        let success = self.status.is_some_and(|status| status.is_success());
        let switched = self.status == Some(StatusCode::SWITCHING_PROTOCOLS);
        match ending {
            Ending::Rejected => Outcome::Rejected,
            _ if self.left.is_some() && self.caller_idle && ending != Ending::Shutdown => Outcome::Timeout,
            _ if self.left.is_some() && (ending != Ending::Shutdown || seen.whole) => {
                Outcome::ClientDisconnect
            }
            // What comes after the end marker does not matter to anybody.
            Ending::UpstreamError if success && seen.done && !failed => Outcome::Complete,
            Ending::UpstreamError => Outcome::UpstreamError,
            Ending::Eof if self.status.is_some() && !success && !switched => Outcome::UpstreamStatus,
            Ending::Eof if failed => Outcome::UpstreamError,
            // Where the coding cannot be undone, nobody knows whether the end marker was there.
            Ending::Eof if self.body.is_stream() && !seen.whole && !self.decoder.is_bad() => {
                Outcome::UpstreamEof
            }
            Ending::Eof => Outcome::Complete,
            _ if success && seen.whole => {
                if failed {
                    Outcome::UpstreamError
                } else {
                    Outcome::Complete
                }
            }
            Ending::ClientDisconnect => Outcome::ClientDisconnect,
            Ending::Timeout => Outcome::Timeout,
            Ending::Shutdown => Outcome::Shutdown,
        }
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
            let seen = &self.body.seen;
            usage.tools = seen.answer.charged.tools();
            usage.units = seen.answer.charged.units(seen.whole && seen.answer.error.is_none());
        }
        if let Some(reported) = self.reported() {
            usage.accounting.reported_input = reported.input;
            usage.accounting.reported_output = reported.output;
        }
        (usage, checks)
    }

    /// Everything but the numbers.
    fn describe(&self, usage: &mut Usage, outcome: Option<Outcome>) {
        let (seen, answer) = (&self.body.seen, &self.body.seen.answer);
        let request = &mut usage.request;
        request.stream = self.facts.stream;
        request.include_usage =
            if self.facts.include_usage { IncludeUsage::Client } else { self.include_usage };
        request.injection = self.describe_injection();
        if let Some(status) = self.status {
            request.status = status.as_u16();
        }
        request.error_type =
            answer.error.clone().filter(|class| !class.is_empty()).or(request.error_type.take());
        request.choices = u32::try_from(answer.choices.len()).ok().filter(|count| *count > 0);
        self.describe_target(&mut usage.target);
        let ids = &mut usage.ids;
        ids.response_id.clone_from(&answer.id);
        ids.upstream_apim_request_id.clone_from(&self.served.apim_request_id);
        ids.upstream_request_id.clone_from(&self.served.request_id);
        let stream = &mut usage.stream;
        stream.outcome = outcome.unwrap_or_default();
        stream.done_seen = seen.done;
        stream.events = seen.events;
        stream.parse_errors =
            seen.parse_errors + u64::from(self.decoder.is_bad()) + u64::from(answer.implausible);
        let exceeds = self.reported().is_some_and(|reported| reported.part_exceeds);
        stream.parse_errors += u64::from(exceeds);
        let mut finished: Vec<_> = answer.choices.iter().collect();
        finished.sort_by_key(|choice| choice.index);
        stream.finish_reasons = finished
            .into_iter()
            .filter_map(|choice| choice.finish.clone())
            .chain(answer.finish.clone())
            .take(FINISH_REASONS_MAX)
            .collect();
    }

    /// How asking for usage went, where it did not go as planned.
    fn describe_injection(&self) -> Option<Injection> {
        let passes_all = self.injection == Some(Injection::Visible);
        let visible = match self.include_usage {
            IncludeUsage::Injected if !self.facts.include_usage && self.body.is_stream() => {
                (passes_all && self.body.seen.usage_events > 0) || self.body.seen.usage_stays
            }
            _ => false,
        };
        if visible { Some(Injection::Visible) } else { self.injection.filter(|_| !passes_all) }
    }

    /// What was called, as far as request and answer say.
    pub fn target(&self) -> Target {
        let mut target = self.draft.target.clone();
        self.describe_target(&mut target);
        target
    }

    /// The deployment in the path, or else the request's `model`. Azure disregards the case of a name, so
    /// of one that differs in case alone the service's own spelling stands: one deployment has one name.
    pub fn deployment(&self) -> Option<SmolStr> {
        let asked = self.draft.target.deployment.clone().or_else(|| self.model_requested())?;
        let served = self.served.deployment.as_ref();
        Some(served.filter(|served| served.eq_ignore_ascii_case(&asked)).unwrap_or(&asked).clone())
    }

    /// The service says that another deployment served the call than the one that was asked for, and that
    /// it did not spill over from that one.
    fn is_served_by_another(&self) -> bool {
        let Some(asked) = self.deployment() else { return false };
        let is_asked = |name: &SmolStr| name.eq_ignore_ascii_case(&asked);
        let spilled = self.served.spillover_from.as_ref().is_some_and(is_asked);
        !spilled && self.served.deployment.as_ref().is_some_and(|served| !is_asked(served))
    }

    fn model_requested(&self) -> Option<SmolStr> {
        self.facts.model.as_deref().and_then(super::answer::label)
    }

    fn describe_target(&self, target: &mut Target) {
        let (answer, served) = (&self.body.seen.answer, &self.served);
        target.model_requested = self.model_requested();
        target.deployment = self.deployment();
        target.model.clone_from(&answer.model);
        target.service_tier.clone_from(&answer.service_tier);
        target.deployment_served.clone_from(&served.deployment);
        target.spillover_from.clone_from(&served.spillover_from);
        target.region.clone_from(&served.region);
    }

    fn tokens(&self, input: &SideNumber, output: &SideNumber, computed: &Computed) -> Tokens {
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

    fn reported_input(&self) -> Option<SideNumber> {
        let reported = self.reported()?;
        let side = if reported.input_open {
            SideNumber::reported(reported.input?, Quality::LowerBound, vec![Reason::UnknownFields])
        } else {
            SideNumber::reported(reported.input?, Quality::Exact, vec![])
        };
        Some(side.doubted(reported.input_differs))
    }

    /// Rules of prompt and answer are known.
    pub(super) fn is_computed(&self) -> bool {
        let api = self.draft.target.api;
        let known = matches!(api, Api::ChatCompletions | Api::Responses | Api::Completions | Api::Embeddings);
        known && self.treatment == Treatment::Metered
    }

    /// What we say of the prompt where the service says nothing.
    fn own_input(&self, ending: Option<Ending>) -> SideNumber {
        let billing = self.billing(ending);
        if let Some(side) = not_billed(billing) {
            return side;
        }
        if billing == Billing::Unmetered {
            return SideNumber::unknown(vec![Reason::Unmetered]);
        }
        if !self.is_computed() {
            return self.not_reported();
        }
        match &self.prompt {
            Prompt::NotKept => SideNumber::unknown(vec![Reason::PromptNotKept]),
            Prompt::Overloaded => SideNumber::unknown(vec![Reason::MeterOverload]),
            Prompt::Counted(count) => self.counted_input(count, billing),
            Prompt::Early { count, by }
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
            Prompt::Waiting | Prompt::Early { .. } => SideNumber::unknown(vec![Reason::PromptNotCounted]),
        }
    }

    /// A side that only the service could have told of, and did not.
    fn not_reported(&self) -> SideNumber {
        let api = self.draft.target.api;
        SideNumber::unknown(match () {
            // Where nothing could be known.
            () if !self.reports() => vec![Reason::Unmetered],
            // It told of something else.
            () if api == Api::Audio && self.body.seen.answer.charged.is_timed() => vec![],
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
        let answer = &self.body.seen.answer;
        if self.rules_model().is_some_and(|model| output::usage_was_divided(answer, model)) {
            reasons.push(Reason::DividedUsage);
        }
        let quality = if reasons.is_empty() { Quality::Exact } else { Quality::Estimated };
        SideNumber::computed(count.tokens, quality, reasons).by(count.class)
    }

    /// Not all of the answer was seen; and by what it was cut, once that is known.
    fn cut(&self, outcome: Option<Outcome>) -> (bool, impl Iterator<Item = Reason> + use<>) {
        let cut = !self.body.seen.whole || self.body.seen.answer.error.is_some();
        let bound = self.left.and_then(|left| left.stopped);
        let by = outcome.filter(|_| cut).map(|outcome| {
            // It was the reading that was cut, not the answer.
            let missed = || self.missed().unwrap_or(Reason::Unreadable);
            let idle = (self.caller_idle && outcome == Outcome::Timeout).then_some(Reason::CallerIdle);
            [Some(Reason::cut_by(outcome).unwrap_or_else(missed)), idle, bound]
        });
        (cut, by.into_iter().flatten().flatten())
    }

    /// Why some of the answer was not read, though it may have come.
    fn missed(&self) -> Option<Reason> {
        match () {
            () if self.overloaded => Some(Reason::MeterOverload),
            () if self.decoder.is_bad() => Some(Reason::Encoding),
            () if self.body.seen.too_long => Some(Reason::TooLong),
            () => None,
        }
    }

    /// Some of the answer was not read.
    pub(super) fn has_missed(&self) -> bool {
        self.missed().is_some()
    }

    fn reported_output(&self, outcome: Option<Outcome>) -> Option<SideNumber> {
        let reported = self.reported()?;
        let (cut, cut_by) = self.cut(outcome);
        // A count that came while text was still coming is a running total.
        let partial = cut && !self.body.seen.answer.reported_last;
        let quality = if partial { Quality::LowerBound } else { Quality::Exact };
        let side = SideNumber::reported(reported.output?, quality, cut_by.filter(|_| partial).collect());
        Some(side.doubted(reported.output_differs))
    }

    /// What we say of the answer where the service says nothing.
    fn own_output(
        &self,
        ending: Option<Ending>,
        outcome: Option<Outcome>,
        computed: &Computed,
    ) -> SideNumber {
        let api = self.draft.target.api;
        let (cut, cut_by) = self.cut(outcome);
        let billing = self.billing(ending);
        if let Some(side) = not_billed(billing) {
            return side;
        }
        match billing {
            // There is no output to be billed, however it ends.
            _ if api == Api::Embeddings && self.reports() && billing != Billing::Unmetered => {
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
            return self.not_reported();
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

    /// Our own count of the answer, whatever the service says of it.
    pub(super) fn computed_output(&self) -> Computed {
        let (seen, answer) = (&self.body.seen, &self.body.seen.answer);
        let whole = seen.whole && answer.error.is_none();
        let unknown = |reason| Computed { reasons: vec![reason], ..Computed::default() };
        let answered = self.status.is_some_and(|status| status.is_success());
        if !self.is_computed() {
            return Computed::default();
        }
        if self.draft.target.api == Api::Embeddings {
            return Computed { tokens: Some(0), class: Some(RuleClass::Embeddings), ..Computed::default() };
        }
        if self.status.is_none() {
            // Nothing was said, in whatever vocabulary.
            return Computed { tokens: Some(0), ..Computed::default() };
        }
        if !answered {
            return Computed::default();
        }
        if let Some(missed) = self.missed() {
            return unknown(missed);
        }
        if answer.is_empty() {
            return match () {
                () if seen.parse_errors > 0 => unknown(Reason::Unreadable),
                () if matches!(answer.finish.as_deref(), Some("queued" | "in_progress")) => {
                    unknown(Reason::Background)
                }
                () if whole => unknown(Reason::NoChoices),
                // Of a document that is cut nothing was read, of a stream all that there was.
                () => Computed { tokens: self.body.is_stream().then_some(0), ..Computed::default() },
            };
        }
        let Some(model) = self.rules_model() else { return unknown(Reason::UnknownModel) };
        // Whether a prompt was counted that the service reports is chance, and must not be seen.
        let reported = self.reported().is_some_and(|reported| reported.input.is_some());
        let prompt_tokens = match &self.prompt {
            Prompt::Counted(count) if self.facts.echo && !reported => count.tokens,
            _ => None,
        };
        let (facts, rules) = (&self.facts, self.rules);
        let exchange = Exchange { answer, model, facts, rules, whole, prompt_tokens };
        let mut computed = output::count(self.draft.target.api, exchange);
        if self.is_model_assumed() {
            computed.because(Reason::ModelAssumed);
        }
        if seen.parse_errors > 0 {
            computed.because(Reason::Unreadable);
        }
        computed
    }

    /// The rules of the model that the answer named, else of the one that was asked for.
    fn rules_model(&self) -> Option<prompt::Model> {
        let answer = &self.body.seen.answer;
        match &answer.model {
            Some(name) if self.draft.target.api == Api::Embeddings => prompt::rules(Api::Embeddings, name),
            Some(_) if !self.is_model_assumed() => answer.rules,
            _ => prompt::rules(self.draft.target.api, &self.assumed_model()?),
        }
    }
}

impl SideNumber {
    fn computed_tokens(&self) -> Option<u64> {
        self.tokens.filter(|_| self.source == Source::Computed)
    }
}

/// A call that the service does not charge for.
fn not_billed(billing: Billing) -> Option<SideNumber> {
    match billing {
        Billing::Nothing => Some(SideNumber::computed(Some(0), Quality::Exact, vec![Reason::NotBilled])),
        Billing::MostLikelyNothing => {
            Some(SideNumber::computed(Some(0), Quality::Estimated, vec![Reason::NotBilled]))
        }
        _ => None,
    }
}
