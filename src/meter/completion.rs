//! What an answer costs by the service's rules, where it does not say so itself.
//!
//! The rules were fitted on 4,486 recorded exchanges of chat completions; on those of classic models
//! outside the first months of 2025 they hit the bill in 99.4 % of 1,879.
//!
//! | answer (classic) | tokens |
//! |---|---|
//! | text | its tokens, + 1 if functions are offered, + 5 if a JSON schema is asked for as well |
//! | refusal | its tokens + 1 |
//! | one call | name joined to ` to=functions.`, arguments as streamed, + 4 (gpt-4 of 2023: + 1) |
//! | several calls | one call to an internal wrapper with compact JSON |
//! | a call that the request named | its arguments |
//! | several choices | their sum |
//!
//! The token that ends a turn is billed by Azure and not by api.openai.com, and never where `length`
//! cut the answer. gpt-5 and the o-series add their hidden reasoning, which no stream shows, and a
//! frame around the text: their visible count is a lower bound.

use super::Rules;
use super::answer::{Answer, Choice};
use crate::chunk::{RequestFacts, ToolChoice};
use crate::prompt::{self, Family, Model};
use crate::tokens::{Encoding, count};

/// From January to May 2025 api.openai.com billed the end of a turn on some clusters and not on
/// others (121 of 185 recordings did): seconds since 1970.
const UNSURE_END_OF_TURN: std::ops::Range<u64> = 1_735_689_600..1_747_785_600;

/// A computed number and why it is not exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Computed {
    pub(super) tokens: Option<u64>,
    /// The part that the service streamed as reasoning, where it does.
    pub(super) reasoning: Option<u64>,
    /// Without the side.
    pub(super) reasons: Vec<&'static str>,
    /// The truth is this or more, by the nature of the model.
    pub(super) lower_bound: bool,
}

impl Computed {
    pub(super) fn because(&mut self, reason: &'static str) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// The tokens of `answer`. `whole`: it was seen to its end.
pub(super) fn output(
    answer: &Answer,
    model: Model,
    facts: &RequestFacts,
    rules: Rules,
    whole: bool,
) -> Computed {
    let exchange = Exchange { model, facts, rules, whole };
    let mut computed = Computed::default();
    let mut sum = Some(0);
    for choice in &answer.choices {
        sum = sum.zip(exchange.choice(choice)).map(|(sum, tokens)| sum + tokens);
        exchange.doubts(choice, &mut computed);
        if !choice.reasoning.is_empty() {
            let visible = choice.reasoning.count(model.encoding);
            computed.reasoning = Some(computed.reasoning.unwrap_or(0) + visible.unwrap_or(0));
        }
    }
    computed.tokens = sum;
    if sum.is_none() {
        computed.because("unknown_model");
    }
    exchange.request_doubts(answer, &mut computed);
    computed
}

/// What the rules look at.
struct Exchange<'a> {
    model: Model,
    facts: &'a RequestFacts,
    rules: Rules,
    whole: bool,
}

impl Exchange<'_> {
    fn encoding(&self) -> Encoding {
        self.model.encoding
    }

    /// The answer stops in mid-sentence: nothing that is billed at its end is billed.
    fn is_cut(&self, choice: &Choice) -> bool {
        match &choice.finish {
            Some(reason) => reason == "length",
            None => !self.whole,
        }
    }

    fn tools_offered(&self) -> bool {
        self.facts.functions || self.facts.legacy_functions
    }

    /// Tokens of one choice; `None` if its text is lost.
    fn choice(&self, choice: &Choice) -> Option<u64> {
        let cut = self.is_cut(choice);
        let end = u64::from(self.rules.end_of_turn && !cut);
        let reasoning = choice.reasoning.count(self.encoding())?;
        let tokens = match self.model.family {
            Family::Gpt5 | Family::OSeries => self.reasoning_model(choice, cut)?,
            Family::Classic | Family::Gpt4Early => self.classic(choice, cut)?,
        };
        // All that a reasoning model said may be hidden.
        let silent = tokens == 0 && matches!(self.model.family, Family::Gpt5 | Family::OSeries);
        Some(tokens + reasoning + if silent { 0 } else { end })
    }

    fn classic(&self, choice: &Choice, cut: bool) -> Option<u64> {
        let text = self.text(choice)?;
        let calls: Vec<_> = choice.calls.iter().filter(|call| !call.name.is_empty()).collect();
        if let ([call], ToolChoice::Named) = (calls.as_slice(), self.facts.tool_choice) {
            return call.arguments.count(self.encoding());
        }
        if calls.is_empty() {
            let refusal = u64::from(!choice.refusal.is_empty());
            let offer = match (self.tools_offered() && !cut, self.facts.json_schema) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => 5,
            };
            return Some(text + refusal + offer);
        }
        let before = if text > 0 { text + 1 } else { 0 };
        let frame = match (choice.finish.is_none() && cut, self.model.family) {
            // Of a call that did not end, only what was seen is sure.
            (true, _) => 0,
            (false, Family::Gpt4Early) => 1,
            (false, _) => 4,
        };
        let calls = match calls.as_slice() {
            [call] => self.name(&call.name) + call.arguments.count(self.encoding())?,
            several => {
                let texts: Vec<_> = several.iter().map(|call| String::from_utf8_lossy(&call.kept)).collect();
                let pairs = several.iter().zip(&texts).map(|(call, text)| (call.name.as_str(), &**text));
                let wrapped = count(self.encoding(), &prompt::parallel(pairs));
                count(self.encoding(), " to=multi_tool_use.parallel") + wrapped
            }
        };
        Some(before + frame + calls)
    }

    /// The visible part of a gpt-5 or o-series answer, as if there had been no reasoning.
    fn reasoning_model(&self, choice: &Choice, cut: bool) -> Option<u64> {
        let text = self.text(choice)?;
        let open = choice.finish.is_none() && cut;
        let frame = match (open, self.model.early_frame) {
            (true, _) => 0,
            (false, false) => 3,
            (false, true) => 9,
        };
        let mut tokens = 0;
        if text > 0 {
            tokens += text + frame + if self.facts.json_schema && !cut { 4 } else { 0 };
        }
        for (place, call) in choice.calls.iter().filter(|call| !call.name.is_empty()).enumerate() {
            tokens += self.name(&call.name) + call.arguments.count(self.encoding())?;
            tokens += match (open, place == 0 && text == 0) {
                (true, _) => 0,
                (false, true) => 4 + frame,
                (false, false) => 4 + 6,
            };
        }
        Some(tokens)
    }

    /// Tokens of content and refusal. Entries of `logprobs` are the very tokens that were sampled;
    /// they are taken where they cover the text byte for byte.
    fn text(&self, choice: &Choice) -> Option<u64> {
        let bytes = choice.content.bytes() + choice.refusal.bytes();
        match choice.logprobs {
            Some(logprobs) if logprobs.bytes == Some(bytes) && bytes > 0 => Some(logprobs.entries),
            _ => Some(choice.content.count(self.encoding())? + choice.refusal.count(self.encoding())?),
        }
    }

    /// A function's name is counted joined to its prefix.
    fn name(&self, name: &str) -> u64 {
        count(self.encoding(), &format!(" to=functions.{name}"))
    }

    /// Why the count of one choice may be off.
    fn doubts(&self, choice: &Choice, computed: &mut Computed) {
        let finish = choice.finish.as_deref();
        let calls = choice.calls.len();
        for (doubt, reason) in [
            (finish == Some("content_filter"), "content_filter"),
            (self.facts.stop && finish == Some("stop") && calls == 0, "stop_sequence"),
            (self.facts.tool_choice == ToolChoice::Named && calls > 0, "named_tool_choice"),
            (choice.audio, "audio"),
            (choice.odd || !choice.reasoning.is_empty(), "unknown_fields"),
            (finish == Some("other"), "unknown_fields"),
            (calls > 0 && choice.has_text(), "text_and_call"),
            (calls > 1 && choice.arguments_cut, "arguments_not_kept"),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
    }

    /// Why the whole count may be off.
    fn request_doubts(&self, answer: &Answer, computed: &mut Computed) {
        let hidden = matches!(self.model.family, Family::Gpt5 | Family::OSeries);
        let unsure_end = if self.rules.end_of_turn {
            // Older models on Azure do not bill it.
            self.encoding() == Encoding::Cl100kBase
        } else {
            answer.created.is_some_and(|seconds| UNSURE_END_OF_TURN.contains(&seconds))
        };
        for (doubt, reason) in [
            (hidden, "reasoning_hidden"),
            (!self.model.proven, "unknown_model"),
            (unsure_end && !hidden, "end_of_turn"),
            (self.facts.hosted_tools || self.facts.web_search || self.facts.data_sources, "hosted_tool"),
            (self.facts.prediction, "prediction"),
            (self.facts.tool_choice == ToolChoice::Other, "unknown_fields"),
            (answer.overflow, "too_many_choices"),
            (!self.facts.complete, "request_unread"),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
        computed.lower_bound = hidden;
    }
}

impl Choice {
    fn has_text(&self) -> bool {
        !(self.content.is_empty() && self.refusal.is_empty())
    }
}
