//! The cost of the response of a chat completion.
//!
//! The rules were fitted on 4,486 recorded exchanges of chat completions; on those of classic models
//! outside the first months of 2025 they hit the bill in 99.4 % of 1,879.
//!
//! | response (classic) | tokens | recordings |
//! |---|---|---|
//! | text | its tokens | all but 1 of some 1,000 |
//! | text, functions offered | + 1: the model says that it calls none | 102 of 102 |
//! | the same, and a JSON schema | `+ 1 + N(the schema's name) + 2`: the model writes the head of such a response itself | 5 of 7 |
//! | refusal | its tokens + 1 | 25 of 25 |
//! | one call | name joined to ` to=functions.`, arguments as streamed, + 4 (gpt-4 of 2023: + 1) | all but 1 |
//! | one call whose arguments have spaces, gpt-4.1-nano, gpt-3.5 | as several calls | 10 of 11 |
//! | several calls | one call to an internal wrapper with compact JSON; gpt-5 too | 37 of 37; 3 of 3 |
//! | a call that the request named | its arguments: the rest is written into the prompt | 13 of 13, 6 with the end of turn |
//! | `tool_choice: none` | its tokens: that no function is called is written into the prompt | none |
//! | several choices | their sum | 7 of 7 |
//! | cut by `length` | the limit of the request | 5 of 5 |
//!
//! The token that ends a turn is billed by Azure and not by api.openai.com, and never where `length`
//! or a stop sequence cut the response. The text of a stop sequence is billed (2 of 2; gpt-4: 1 of 1), though it
//! is not sent; it was not with gpt-4o in the first months of 2025 (22 of 22). So whether one was met is the
//! question, and no response says it; a response to a strict schema that ends with a bracket has met none
//! that begins with a word.
//!
//! gpt-5 and the o-series add their hidden reasoning, which no stream shows, and a frame around the
//! text: their visible count is a lower bound. From gpt-5.2 on there is none where the request says so, and
//! the count is exact.

use super::computed::Computed;
use super::exchange::{MeteredExchange, SLACK_TOKENS, limited, signed};
use crate::chunk::{Stop, ToolChoice};
use crate::meter::read::{ChoicesReader, SeenCall, SeenChoice};
use crate::prompt::{self, Bill};
use crate::tokens::{self, Encoding};
use crate::usage::{Reason, RuleClass};

/// From December 2024 to May 2025 api.openai.com billed the end of a turn on some clusters and not on
/// others (121 of 185 recordings are billed, and one of eleven from that December): seconds since 1970.
const UNSURE_END_OF_TURN: std::ops::Range<u64> = 1_733_529_600..1_747_785_600;

/// The text of a stop sequence was not billed by gpt-4o until April 2025 (22 of 22), and was in January
/// 2026 (2 of 2): seconds since 1970, of a day from which on that is not known.
const UNSURE_STOP_TEXT: u64 = 1_759_276_800;

/// Azure bills it at least since October 2025 (57 of 57); in March 2025 it did not (1 of 1), nor did it
/// for older models (3 of 3). Before gpt-4o came, in May 2024, no response can be dated.
const UNSURE_END_OF_TURN_ON_AZURE: std::ops::Range<u64> = 1_715_558_400..1_759_276_800;

/// The tokens of a chat response.
pub(super) fn count(exchange: MeteredExchange<'_>, response: &ChoicesReader) -> Computed {
    let (mut computed, mut bill) = (Computed::default(), Bill::default());
    let mut known = true;
    let several = response.choices.len() > 1;
    for (place, choice) in response.choices.iter().enumerate() {
        known &= exchange.choice(choice, several.then_some(place), &mut bill).is_some();
        exchange.doubts(choice, &mut computed);
        if !choice.reasoning.is_empty() {
            let visible = choice.reasoning.count(exchange.encoding());
            computed.reasoning = Some(computed.reasoning.unwrap_or(0) + visible.unwrap_or(0));
        }
    }
    if known {
        computed.charge(bill, exchange.class(&response.choices));
    } else {
        computed.because(Reason::UnknownModel);
    }
    exchange.request_doubts(response, &mut computed);
    computed
}

impl MeteredExchange<'_> {
    fn encoding(&self) -> Encoding {
        self.model.encoding
    }

    /// The response stops in mid-sentence: nothing that is billed at its end is billed.
    fn is_cut(&self, choice: &SeenChoice) -> bool {
        match &choice.finish {
            Some(reason) => matches!(reason.as_str(), "length" | "content_filter"),
            None => !self.whole,
        }
    }

    fn tools_offered(&self) -> bool {
        self.facts.functions > 0 || self.facts.legacy_functions
    }

    /// The rules that the response goes by.
    fn class(&self, choices: &[SeenChoice]) -> RuleClass {
        let calls = choices.iter().map(|choice| choice.calls.len()).max().unwrap_or(0);
        match () {
            () if choices.len() > 1 => RuleClass::Choices,
            () if calls > 1 => RuleClass::Calls,
            () if calls == 1 => RuleClass::Call,
            () if choices.iter().any(|choice| !choice.refusal.is_empty()) => RuleClass::Refusal,
            () if self.facts.json_schema => RuleClass::JsonSchema,
            () => RuleClass::Text,
        }
    }

    /// Tokens of one choice; `None` if its text is lost.
    fn choice(&self, choice: &SeenChoice, place: Option<usize>, bill: &mut Bill) -> Option<()> {
        let cut = self.is_cut(choice);
        let hidden = self.model.frames.thinks;
        let before = bill.total();
        if hidden {
            self.reasoning_model(choice, place, cut, bill)?;
        } else {
            self.classic(choice, place, cut, bill)?;
        }
        self.said_to_custom_tools(choice, place, bill)?;
        // All that a reasoning model said may be hidden.
        let silent = hidden && bill.total() == before;
        bill.add_at("reasoning text", place, signed(choice.reasoning.count(self.encoding())?));
        if self.rules.end_of_turn && !cut && !silent {
            bill.add_at("end of turn", place, 1);
        }
        Some(())
    }

    fn classic(&self, choice: &SeenChoice, place: Option<usize>, cut: bool, bill: &mut Bill) -> Option<()> {
        let before = bill.total();
        self.said(choice, place, cut, bill)?;
        if choice.finish.as_deref() == Some("length") {
            let counted = bill.total() - before;
            bill.add_at(
                "up to the limit",
                place,
                signed(limited(counted, self.facts.limit)) - signed(counted),
            );
        }
        Some(())
    }

    /// The words of a classic model.
    fn said(&self, choice: &SeenChoice, place: Option<usize>, cut: bool, bill: &mut Bill) -> Option<()> {
        let text = signed(self.text(choice)?);
        let calls: Vec<_> = choice.calls.iter().filter(|call| !call.name.is_empty()).collect();
        if let ([call], ToolChoice::Named) = (calls.as_slice(), self.facts.tool_choice) {
            bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            return Some(());
        }
        bill.add_at("text", place, text);
        if calls.is_empty() {
            bill.add_at("refusal frame", place, i64::from(!choice.refusal.is_empty()));
            if self.tools_offered() && !cut {
                bill.add_at("no call", place, i64::from(self.facts.tool_choice != ToolChoice::Nothing));
                bill.add_at("JSON schema", place, self.schema_head());
            }
            return Some(());
        }
        bill.add_at("text frame", place, i64::from(text > 0));
        let frame = match (choice.finish.is_none() && cut, self.model.frames.early) {
            // Of a call that did not end, only what was seen is sure.
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 4,
        };
        bill.add_at("call frame", place, frame);
        match calls.as_slice() {
            [call] if !self.is_wrapped(call) => {
                bill.add_at("function name", place, self.name(&call.name));
                bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            }
            several => self.wrapper(several, place, bill),
        }
        Some(())
    }

    /// Calls made together are one call to an internal wrapper.
    fn wrapper(&self, calls: &[&SeenCall], place: Option<usize>, bill: &mut Bill) {
        let texts: Vec<_> = calls.iter().map(|call| String::from_utf8_lossy(&call.kept)).collect();
        let pairs = calls.iter().zip(&texts).map(|(call, text)| (call.name.as_str(), &**text));
        bill.add_at("parallel call name", place, self.n(" to=multi_tool_use.parallel"));
        bill.add_at("parallel calls", place, self.n(&prompt::parallel(pairs)));
    }

    /// A model sometimes wraps a single call as if there were several. It shows: arguments out of the
    /// wrapper are written anew, as Python does, with spaces; a call of its own has none. Of those so
    /// spaced 10 of 11 are billed with the wrapper (the other has 13 more), of 657 others none.
    fn is_wrapped(&self, call: &SeenCall) -> bool {
        let frames = self.model.frames;
        !frames.thinks && !frames.early && self.model.wraps_one && prompt::is_spaced(&call.kept)
    }

    /// The visible part of a gpt-5 or o-series response, as if there had been no reasoning.
    fn reasoning_model(
        &self,
        choice: &SeenChoice,
        place: Option<usize>,
        cut: bool,
        bill: &mut Bill,
    ) -> Option<()> {
        let text = signed(self.text(choice)?);
        let open = choice.finish.is_none() && cut;
        let frames = self.model.frames.turn;
        // After the result of a call the model may go on without a thought.
        let silent = if self.facts.answers_result { frames.silent } else { 0 };
        let frame = |frame: i64| if open { 0 } else { frame };
        if text > 0 {
            bill.add_at("text", place, text);
            bill.add_at("perhaps shorter", place, if self.may_think() { -(text / SLACK_TOKENS) } else { 0 });
            bill.add_at("text frame", place, frame(frames.text - silent));
            bill.add_at("JSON schema", place, if cut { 0 } else { self.schema_head() });
        }
        let calls: Vec<_> = choice.calls.iter().filter(|call| !call.name.is_empty()).collect();
        if calls.is_empty() {
            return Some(());
        }
        let call = if self.facts.tool_choice == ToolChoice::Named { frames.named } else { frames.call };
        bill.add_at("call frame", place, frame(if text > 0 { 4 + 6 } else { call - silent }));
        match calls.as_slice() {
            [call] => {
                bill.add_at("function name", place, self.name(&call.name));
                bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
            }
            // How the wrapper would have ended is not known; it never costs less than the arguments.
            several if open => {
                for call in several {
                    bill.add_at("arguments", place, signed(call.arguments.count(self.encoding())?));
                }
            }
            several => self.wrapper(several, place, bill),
        }
        Some(())
    }

    fn n(&self, text: &str) -> i64 {
        signed(tokens::count(self.encoding(), text))
    }

    /// A function's name is counted joined to its prefix.
    fn name(&self, name: &str) -> i64 {
        self.n(&format!(" to=functions.{name}"))
    }

    /// Why the count of one choice may be off.
    fn doubts(&self, choice: &SeenChoice, computed: &mut Computed) {
        let finish = choice.finish.as_deref();
        let (calls, customs) = (choice.calls.len(), choice.customs.len());
        let text = if self.facts.json_schema { self.text(choice).map_or(0, signed) } else { 0 };
        let nameless = choice.calls.iter().chain(&choice.customs).any(|call| call.name.is_empty());
        for (doubt, reason) in [
            (finish == Some("content_filter"), Reason::ContentFilter),
            (self.may_have_met_a_stop(choice), Reason::StopSequence),
            (self.facts.tool_choice == ToolChoice::Named && !self.is_named_call(choice), Reason::ToolChoice),
            (self.facts.tool_choice == ToolChoice::Nothing && self.tools_offered(), Reason::ToolChoice),
            (finish.is_none() && self.whole, Reason::Unfinished),
            (
                !choice.has_text() && calls + customs == 0 && self.whole && !self.model.frames.thinks,
                Reason::EmptyAnswer,
            ),
            (nameless && self.whole, Reason::UnknownFields),
            (calls > 1 && self.model.frames.early, Reason::ParallelCalls),
            (matches!(choice.calls.as_slice(), [call] if self.is_wrapped(call)), Reason::ParallelCalls),
            (self.is_long_json(text, choice.content.breaks()), Reason::JsonSchema),
            (choice.audio, Reason::Audio),
            (choice.odd || !choice.reasoning.is_empty(), Reason::UnknownFields),
            (finish == Some("other"), Reason::UnknownFields),
            (calls + customs > 0 && choice.has_text(), Reason::TextAndCall),
            (self.facts.custom_tools || customs > 0, Reason::CustomTool),
            (calls > 1 && choice.arguments_cut, Reason::ArgumentsNotKept),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
    }

    /// It may have been cut by a stop sequence, and that may change the bill.
    fn may_have_met_a_stop(&self, choice: &SeenChoice) -> bool {
        let could = self.facts.stop != Stop::Never
            && choice.finish.as_deref() == Some("stop")
            && choice.calls.is_empty();
        let then = self.stated.created.is_some_and(|seconds| seconds < UNSURE_STOP_TEXT);
        let free = then && !self.rules.end_of_turn && self.encoding() == Encoding::O200kBase;
        let is_json = self.facts.json_schema
            && self.facts.strict
            && self.facts.stop == Stop::Words
            && matches!(choice.content.last(), Some(b'}' | b']'));
        could && !free && !is_json
    }

    /// The call that the request named, as it has been recorded.
    fn is_named_call(&self, choice: &SeenChoice) -> bool {
        let ended = matches!(choice.finish.as_deref(), Some("stop" | "length"));
        ended && choice.calls.len() == 1 && !choice.has_text() && self.is_classic()
    }

    fn is_classic(&self) -> bool {
        !self.model.frames.thinks && !self.model.frames.early
    }

    /// Why the whole count may be off.
    fn request_doubts(&self, response: &ChoicesReader, computed: &mut Computed) {
        let hidden = self.may_think();
        let called = response.choices.iter().any(|choice| !choice.calls.is_empty());
        let created = |is: fn(u64) -> bool| self.stated.created.is_some_and(is);
        let unsure_end = if self.rules.end_of_turn {
            self.encoding() == Encoding::Cl100kBase
                || created(|seconds| UNSURE_END_OF_TURN_ON_AZURE.contains(&seconds))
        } else {
            created(|seconds| UNSURE_END_OF_TURN.contains(&seconds))
        };
        for (doubt, reason) in [
            (hidden, Reason::ReasoningHidden),
            (self.model.chat < self.needed(called), Reason::UnknownModel),
            (unsure_end && !self.model.frames.thinks, Reason::EndOfTurn),
            (self.facts.hosted_tools || self.facts.web_search || self.facts.data_sources, Reason::HostedTool),
            (self.facts.prediction, Reason::Prediction),
            (self.facts.tool_choice == ToolChoice::Other, Reason::UnknownFields),
            (response.overflow, Reason::TooManyChoices),
            (!self.facts.complete, Reason::RequestUnread),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
        computed.lower_bound = hidden || response.choices.iter().any(|choice| !choice.customs.is_empty());
    }
}

impl SeenChoice {
    fn has_text(&self) -> bool {
        !(self.content.is_empty() && self.refusal.is_empty())
    }
}
