//! What the answer of a Responses call costs.
//!
//! Held against 205 recorded answers of classic models, without hosted tools: 196 are exact. Of the
//! others, six were written by hand (five are dated before the API opened, one before its model did),
//! one reports zeros, and two do not have the text that the model wrote.
//!
//! | answer (classic) | tokens |
//! |---|---|
//! | text | its tokens, + 1 if functions are offered |
//! | text that follows a JSON schema, functions are offered | `+ 1 + N(the schema's name) + 2`: the model writes the head of such an answer itself |
//! | refusal | its tokens + 1 |
//! | one call | name joined to ` to=functions.`, arguments as streamed, + 4 |
//! | several calls | one call to an internal wrapper with compact JSON (5 of 5) |
//! | the one call that had to be made | its arguments |
//!
//! The token that ends the turn is billed, but not where the answer is incomplete. The items of an
//! answer are one turn: their texts are counted each for itself.
//!
//! gpt-5 adds 3 to a text, that head if it follows a JSON schema (35 of 35), 7 to a call (99 of 102
//! recordings that hold no reasoning item), and 2 where a reasoning item says that it reasoned (85 of 85 are billed that
//! or more). The o-series adds nothing, or 1
//! without reasoning: the head of its answer that the prompt lacks (1 of 1, of computer-use-preview). Both add their hidden reasoning, which no stream shows: their
//! count is a lower bound.

use super::{Computed, Exchange, signed};
use crate::chunk::{ItemKind, ToolChoice};
use crate::meter::items::{Item, Items};
use crate::prompt::{self, Bill, EARLY_RESPONSES_END, Family, Model};
use crate::tokens;

/// The tokens of an answer.
pub(super) fn count(exchange: Exchange<'_>) -> Computed {
    let answer = Answer { exchange, items: &exchange.answer.items };
    let (mut computed, mut bill) = (Computed::default(), Bill::default());
    match answer.bill(&mut bill) {
        Some(()) => computed.charge(bill, answer.class()),
        None => computed.because("unknown_model"),
    }
    answer.doubts(&mut computed);
    computed
}

struct Answer<'a> {
    exchange: Exchange<'a>,
    items: &'a Items,
}

impl Answer<'_> {
    fn n(&self, text: &str) -> i64 {
        signed(tokens::count(self.exchange.model.encoding, text))
    }

    fn finish(&self) -> Option<&str> {
        self.exchange.answer.finish.as_deref()
    }

    /// It stops in mid-sentence: nothing that is billed at its end is billed.
    fn is_cut(&self) -> bool {
        match self.finish() {
            Some(finish) => finish != "completed",
            None => !self.exchange.whole,
        }
    }

    /// Its end was not seen at all.
    fn is_open(&self) -> bool {
        self.finish().is_none() && self.is_cut()
    }

    /// What the model says is not all that it is billed for.
    fn hides(&self) -> bool {
        thinks(self.exchange.model)
    }

    /// Nothing was said to the caller, or to a custom tool of the caller's.
    fn is_silent(&self, text: i64) -> bool {
        text == 0 && self.items.calls().next().is_none() && self.items.customs().next().is_none()
    }

    /// The request left the model one function to call.
    fn is_forced(&self) -> bool {
        let facts = self.exchange.facts;
        match facts.tool_choice {
            ToolChoice::Named => true,
            ToolChoice::Required => facts.functions == 1 && !facts.hosted_tools && !facts.custom_tools,
            ToolChoice::Auto | ToolChoice::Nothing | ToolChoice::Other => false,
        }
    }

    fn class(&self) -> &'static str {
        match (self.items.calls().count(), self.items.parts().any(|part| part.refusal)) {
            (2.., _) => "calls",
            (1, _) => "call",
            (0, true) => "refusal",
            (0, false) if self.exchange.facts.json_schema => "json_schema",
            (0, false) => "text",
        }
    }

    /// The whole answer; `None` if its text is lost.
    fn bill(&self, bill: &mut Bill) -> Option<()> {
        let calls: Vec<_> = self.items.calls().collect();
        let text = self.texts(bill)?;
        match self.exchange.model.family {
            Family::Classic | Family::Gpt4Early => {
                match calls.as_slice() {
                    [] => self.classic_text(bill),
                    [_] if self.is_forced() => {}
                    _ => {
                        bill.add("text frame", i64::from(text > 0));
                        bill.add("call frame", if self.is_open() { 0 } else { 4 });
                    }
                }
                self.calls(&calls, self.is_forced(), bill)?;
            }
            Family::Gpt5 => {
                let whole = i64::from(!self.is_open());
                bill.add("text frame", if text > 0 { 3 * whole } else { 0 });
                bill.add(
                    "JSON schema",
                    if text > 0 && !self.is_cut() { self.exchange.schema_head() } else { 0 },
                );
                let reasoned = self.items.is_reasoned() && !self.is_silent(text);
                bill.add("reasoning frame", if reasoned { 2 * whole } else { 0 });
                let call = if text > 0 { 10 } else { 7 };
                bill.add("call frame", if calls.is_empty() { 0 } else { call * whole });
                self.calls(&calls, false, bill)?;
            }
            Family::OSeries => {
                let bare = text > 0 && !self.items.is_reasoned() && !self.is_open();
                bill.add("text frame", i64::from(bare));
                self.calls(&calls, false, bill)?;
            }
        }
        let framed = self.hides() && !self.is_open() && text == 0 && calls.is_empty();
        self.exchange.said_to_tools(self.items, framed, bill)?;
        // All that a reasoning model said may be hidden.
        let silent = self.hides() && self.is_silent(text);
        bill.add("end of turn", i64::from(!self.is_cut() && !silent));
        Some(())
    }

    /// The texts of all parts, each counted for itself; returns their sum.
    fn texts(&self, bill: &mut Bill) -> Option<i64> {
        let mut sum = 0;
        let several = self.items.parts().nth(1).is_some();
        for (place, part) in self.items.parts().enumerate() {
            let tokens = signed(part.text.count(self.exchange.model.encoding)?);
            bill.add_at(if part.refusal { "refusal" } else { "text" }, several.then_some(place), tokens);
            sum += tokens;
        }
        Some(sum)
    }

    fn classic_text(&self, bill: &mut Bill) {
        bill.add("refusal frame", i64::from(self.items.parts().any(|part| part.refusal)));
        if self.exchange.facts.functions > 0 && !self.is_cut() {
            bill.add("tools offered", 1);
            bill.add("JSON schema", self.exchange.schema_head());
        }
    }

    /// Names and arguments. `forced`: the name was not the model's to say.
    fn calls(&self, calls: &[&Item], forced: bool, bill: &mut Bill) -> Option<()> {
        if let [call] = calls {
            bill.add(
                "function name",
                if forced { 0 } else { self.n(&format!(" to=functions.{}", call.name)) },
            );
            bill.add("arguments", signed(call.arguments.count(self.exchange.model.encoding)?));
            return Some(());
        }
        if self.is_open() {
            // How the wrapper would have ended is not known; it never costs less than the arguments.
            for (place, call) in calls.iter().enumerate() {
                bill.add_at("arguments", place, self.n(&prompt::compact(&kept(call))));
            }
        } else if !calls.is_empty() {
            let texts: Vec<_> = calls.iter().map(|call| kept(call)).collect();
            let pairs = calls.iter().zip(&texts).map(|(call, text)| (call.name.as_str(), &**text));
            bill.add("parallel call name", self.n(" to=multi_tool_use.parallel"));
            bill.add("parallel calls", self.n(&prompt::parallel(pairs)));
        }
        Some(())
    }

    /// Why the count may be off.
    fn doubts(&self, computed: &mut Computed) {
        let Exchange { answer, model, facts, .. } = self.exchange;
        let calls = self.items.calls().count();
        let texts = self.items.messages().count();
        let finish = self.finish();
        // Answers of the API's first weeks, or from before it opened, are few and of mixed sorts.
        let early = answer.created.is_some_and(|seconds| seconds < EARLY_RESPONSES_END);
        for (doubt, reason) in [
            (self.hides(), "reasoning_hidden"),
            (!model.proven_responses, "unknown_model"),
            (facts.hosted_tools || self.items.is_hosted(), "hosted_tool"),
            (facts.custom_tools || self.items.customs().next().is_some(), "custom_tool"),
            (finish == Some("content_filter"), "content_filter"),
            (
                !matches!(
                    finish,
                    None | Some("completed" | "max_output_tokens" | "content_filter" | "failed")
                ),
                "unknown_fields",
            ),
            (self.items.odd || facts.tool_choice == ToolChoice::Other, "unknown_fields"),
            (self.is_forced() && calls > 0, "named_tool_choice"),
            // No recording of a classic model has it.
            (facts.tool_choice == ToolChoice::Nothing && facts.functions > 0, "tool_choice"),
            (calls > 0 && texts > 0, "text_and_call"),
            (texts > 1, "several_messages"),
            (self.items.overflow, "too_many_choices"),
            (!facts.complete, "request_unread"),
            (facts.compacts, "compaction"),
            (early, "early_responses"),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
        let framed = |(kind, _)| kind == ItemKind::Tool;
        let to_tools = self.items.customs().next().is_some() || self.items.own().any(framed);
        computed.lower_bound = (self.hides() || to_tools) && !early;
    }
}

/// The model thinks before it speaks.
pub(super) fn thinks(model: Model) -> bool {
    matches!(model.family, Family::Gpt5 | Family::OSeries)
}

fn kept(call: &Item) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&call.kept)
}
