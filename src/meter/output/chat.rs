//! What the answer of a chat completion costs.
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

use super::{Computed, Exchange, signed};
use crate::chunk::ToolChoice;
use crate::meter::answer::Choice;
use crate::prompt::{self, Bill, Family};
use crate::tokens::{self, Encoding};

/// From January to May 2025 api.openai.com billed the end of a turn on some clusters and not on
/// others (121 of 185 recordings did): seconds since 1970.
const UNSURE_END_OF_TURN: std::ops::Range<u64> = 1_735_689_600..1_747_785_600;

/// The tokens of a chat answer.
pub(super) fn count(exchange: Exchange<'_>) -> Computed {
    let (mut computed, mut bill) = (Computed::default(), Bill::default());
    let mut known = true;
    let several = exchange.answer.choices.len() > 1;
    for (place, choice) in exchange.answer.choices.iter().enumerate() {
        known &= exchange.choice(choice, several.then_some(place), &mut bill).is_some();
        exchange.doubts(choice, &mut computed);
        if !choice.reasoning.is_empty() {
            let visible = choice.reasoning.count(exchange.encoding());
            computed.reasoning = Some(computed.reasoning.unwrap_or(0) + visible.unwrap_or(0));
        }
    }
    if known {
        computed.charge(bill, exchange.class());
    } else {
        computed.because("unknown_model");
    }
    exchange.request_doubts(&mut computed);
    computed
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
        self.facts.functions > 0 || self.facts.legacy_functions
    }

    /// The rules that the answer goes by.
    fn class(&self) -> &'static str {
        let choices = &self.answer.choices;
        let calls = choices.iter().map(|choice| choice.calls.len()).max().unwrap_or(0);
        match () {
            () if choices.len() > 1 => "choices",
            () if calls > 1 => "calls",
            () if calls == 1 => "call",
            () if choices.iter().any(|choice| !choice.refusal.is_empty()) => "refusal",
            () if self.facts.json_schema => "json_schema",
            () => "text",
        }
    }

    /// Tokens of one choice; `None` if its text is lost.
    fn choice(&self, choice: &Choice, place: Option<usize>, bill: &mut Bill) -> Option<()> {
        let cut = self.is_cut(choice);
        let hidden = matches!(self.model.family, Family::Gpt5 | Family::OSeries);
        let before = bill.total();
        if hidden {
            self.reasoning_model(choice, place, cut, bill)?;
        } else {
            self.classic(choice, place, cut, bill)?;
        }
        // All that a reasoning model said may be hidden.
        let silent = hidden && bill.total() == before;
        bill.add_at("reasoning text", place, signed(choice.reasoning.count(self.encoding())?));
        if self.rules.end_of_turn && !cut && !silent {
            bill.add_at("end of turn", place, 1);
        }
        Some(())
    }

    fn classic(&self, choice: &Choice, place: Option<usize>, cut: bool, bill: &mut Bill) -> Option<()> {
        let text = signed(self.text(choice)?);
        let calls: Vec<_> = choice.calls.iter().filter(|call| !call.name.is_empty()).collect();
        if let ([call], ToolChoice::Named) = (calls.as_slice(), self.facts.tool_choice) {
            bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            return Some(());
        }
        bill.add_at("text", place, text);
        if calls.is_empty() {
            bill.add_at("refusal frame", place, i64::from(!choice.refusal.is_empty()));
            let offer = match (self.tools_offered() && !cut, self.facts.json_schema) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => 5,
            };
            bill.add_at("tools offered", place, offer);
            return Some(());
        }
        bill.add_at("text frame", place, i64::from(text > 0));
        let frame = match (choice.finish.is_none() && cut, self.model.family) {
            // Of a call that did not end, only what was seen is sure.
            (true, _) => 0,
            (false, Family::Gpt4Early) => 1,
            (false, _) => 4,
        };
        bill.add_at("call frame", place, frame);
        match calls.as_slice() {
            [call] => {
                bill.add_at("function name", place, self.name(&call.name));
                bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            }
            several => {
                let texts: Vec<_> = several.iter().map(|call| String::from_utf8_lossy(&call.kept)).collect();
                let pairs = several.iter().zip(&texts).map(|(call, text)| (call.name.as_str(), &**text));
                bill.add_at("parallel call name", place, self.n(" to=multi_tool_use.parallel"));
                bill.add_at("parallel calls", place, self.n(&prompt::parallel(pairs)));
            }
        }
        Some(())
    }

    /// The visible part of a gpt-5 or o-series answer, as if there had been no reasoning.
    fn reasoning_model(
        &self,
        choice: &Choice,
        place: Option<usize>,
        cut: bool,
        bill: &mut Bill,
    ) -> Option<()> {
        let text = signed(self.text(choice)?);
        let open = choice.finish.is_none() && cut;
        let frame = match (open, self.model.early_frame) {
            (true, _) => 0,
            (false, false) => 3,
            (false, true) => 9,
        };
        if text > 0 {
            bill.add_at("text", place, text);
            bill.add_at("text frame", place, frame);
            bill.add_at("JSON schema", place, if self.facts.json_schema && !cut { 4 } else { 0 });
        }
        for (nth, call) in choice.calls.iter().filter(|call| !call.name.is_empty()).enumerate() {
            bill.add_at("function name", place, self.name(&call.name));
            bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            let frame = match (open, nth == 0 && text == 0) {
                (true, _) => 0,
                (false, true) => 4 + frame,
                (false, false) => 4 + 6,
            };
            bill.add_at("call frame", place, frame);
        }
        Some(())
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

    fn n(&self, text: &str) -> i64 {
        signed(tokens::count(self.encoding(), text))
    }

    /// A function's name is counted joined to its prefix.
    fn name(&self, name: &str) -> i64 {
        self.n(&format!(" to=functions.{name}"))
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
    fn request_doubts(&self, computed: &mut Computed) {
        let answer = self.answer;
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
