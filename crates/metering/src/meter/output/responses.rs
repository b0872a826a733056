//! The cost of a response of the Responses API.
//!
//! Held against 645 recorded responses of classic models, without hosted tools: 622 are exact. Of the
//! others, some were written by hand, one reports zeros, two do not have the text that the model wrote, and eight
//! are single calls in the wrapper for several.
//!
//! | response (classic) | tokens |
//! |---|---|
//! | text | its tokens, + 1 if functions are offered |
//! | text that follows a JSON schema, functions are offered | `+ 1 + N(the schema's name) + 2`: the model writes the head of such a response itself |
//! | refusal | its tokens + 1 |
//! | one call | name joined to ` to=functions.`, arguments as streamed, + 4 |
//! | several calls | one call to an internal wrapper with compact JSON (5 of 5) |
//! | the one call that had to be made | its arguments |
//!
//! The token that ends the turn is billed, but not where the response is incomplete. The items of an
//! response are one turn: their texts are counted each for itself.
//!
//! The frames around the response of a model that thinks are in `prompt/model.rs`. gpt-5 adds 3 to a text, the head
//! if it follows a JSON schema (35 of 35), 7 to a call (99 of 102 recordings that hold no reasoning item), and
//! 2 where a reasoning item says that it reasoned (85 of 85 are billed that or more). Hidden reasoning, which
//! no stream shows, makes the count a lower bound. From gpt-5.2 on a response without a reasoning item has
//! none, nor has one to a request for no effort: there the count is the bill (174 of 175; and 54 of 54 of other
//! efforts, from four programs).

use super::computed::Computed;
use super::exchange::{MeteredExchange, SLACK_TOKENS, signed};
use crate::chunk::{ItemKind, ToolChoice};
use crate::meter::read::{ItemsReader, ResponseFacts, SeenItem, SeenItems, SeenPart};
use crate::prompt::{self, Bill, EARLY_RESPONSES_END, Model};
use crate::tokens;
use crate::usage::{Reason, RuleClass};

/// The tokens of a response.
pub(super) fn count(exchange: MeteredExchange<'_>, response: &ItemsReader) -> Computed {
    let said = ItemsExchange { exchange, response, items: &response.items };
    let (mut computed, mut bill) = (Computed::default(), Bill::default());
    match said.bill(&mut bill) {
        Some(()) => computed.charge(bill, said.class()),
        None => computed.because(Reason::UnknownModel),
    }
    said.doubts(&mut computed);
    computed
}

/// The items of a response, and the rest of the exchange.
struct ItemsExchange<'a> {
    exchange: MeteredExchange<'a>,
    response: &'a ItemsReader,
    items: &'a SeenItems,
}

impl ItemsExchange<'_> {
    fn n(&self, text: &str) -> i64 {
        signed(tokens::count(self.exchange.model.encoding, text))
    }

    fn finish(&self) -> Option<&str> {
        self.response.finish.as_deref()
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

    /// The model is billed for more than it shows.
    fn hides(&self) -> bool {
        let MeteredExchange { model, facts, .. } = self.exchange;
        let shown = model.frames.shows_reasoning && !self.is_hosted();
        let told = self.response.thinks_not || !self.exchange.may_think();
        let ended = self.finish().is_some() || self.exchange.whole;
        let silent = shown && !self.items.is_reasoned() && (told || ended);
        model.frames.thinks && (facts.thinks_otherwise || !silent)
    }

    fn is_hosted(&self) -> bool {
        self.exchange.facts.hosted_tools || self.items.is_hosted()
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

    fn class(&self) -> RuleClass {
        match (self.items.calls().count(), self.items.parts().any(|part| part.refusal)) {
            (2.., _) => RuleClass::Calls,
            (1, _) => RuleClass::Call,
            (0, true) => RuleClass::Refusal,
            (0, false) if self.exchange.facts.json_schema => RuleClass::JsonSchema,
            (0, false) => RuleClass::Text,
        }
    }

    /// The whole response; `None` if its text is lost.
    fn bill(&self, bill: &mut Bill) -> Option<()> {
        let calls: Vec<_> = self.items.calls().collect();
        let text = self.texts(bill)?;
        if self.exchange.model.frames.thinks {
            self.thinking(&calls, text, bill)?;
        } else {
            self.classic(&calls, text, bill)?;
        }
        let framed = thinks(self.exchange.model) && !self.is_open() && text == 0 && calls.is_empty();
        self.exchange.said_to_tools(self.items, framed, bill)?;
        // All that a reasoning model said may be hidden.
        let silent = thinks(self.exchange.model) && self.is_silent(text);
        bill.add("end of turn", i64::from(!self.is_cut() && !silent));
        Some(())
    }

    fn classic(&self, calls: &[&SeenItem], text: i64, bill: &mut Bill) -> Option<()> {
        match calls {
            [] => self.classic_text(bill),
            [_] if self.is_forced() => {}
            _ => {
                bill.add("text frame", i64::from(text > 0));
                bill.add("call frame", if self.is_open() { 0 } else { 4 });
            }
        }
        self.calls(calls, self.is_forced(), bill)
    }

    /// The visible part of the response of a model that thinks.
    fn thinking(&self, calls: &[&SeenItem], text: i64, bill: &mut Bill) -> Option<()> {
        let frames = self.exchange.model.frames.turn_responses;
        let (whole, forced) = (i64::from(!self.is_open()), self.is_forced());
        let reasoned = self.items.is_reasoned();
        if text > 0 {
            // o1 and the like: the head of a response without thoughts, which the prompt lacks (1 of 1).
            let head = i64::from(frames.thought == 0 && !reasoned);
            bill.add("perhaps shorter", if self.hides() { -(text / SLACK_TOKENS) } else { 0 });
            bill.add("text frame", (frames.text + head) * whole);
            bill.add("JSON schema", if self.is_cut() { 0 } else { self.exchange.schema_head() });
        }
        let spoken = !self.is_silent(text);
        bill.add("reasoning frame", if reasoned && spoken { frames.thought * whole } else { 0 });
        if !calls.is_empty() {
            let beside = if text > 0 { frames.text } else { 0 };
            let call = if forced { frames.named } else { frames.call };
            bill.add("call frame", (beside + call) * whole);
        }
        self.calls(calls, forced && !frames.names, bill)
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
        // gpt-4 of June 2023: 7 of 7 responses without functions.
        let early = self.exchange.model.frames.early;
        bill.add("start of the answer", i64::from(early && !self.is_cut()));
        if self.exchange.facts.functions > 0 && !self.is_cut() {
            bill.add("tools offered", 1);
            bill.add("JSON schema", self.exchange.schema_head());
        }
    }

    /// Names and arguments. `forced`: the name was not the model's to say.
    fn calls(&self, calls: &[&SeenItem], forced: bool, bill: &mut Bill) -> Option<()> {
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

    /// A model that wraps single calls may have done so: here, unlike in a chat, nothing shows it.
    fn may_be_wrapped(&self) -> bool {
        let MeteredExchange { model, facts, .. } = self.exchange;
        model.wraps_one && !facts.one_call
    }

    fn has_long_json(&self) -> bool {
        let encoding = self.exchange.model.encoding;
        let is_long = |part: &SeenPart| {
            self.exchange.is_long_json(part.text.count(encoding).map_or(0, signed), part.text.breaks())
        };
        self.exchange.facts.json_schema && self.items.parts().any(is_long)
    }

    /// Why the count may be off.
    fn doubts(&self, computed: &mut Computed) {
        let MeteredExchange { stated, model, facts, .. } = self.exchange;
        let calls = self.items.calls().count();
        let texts = self.items.messages().count();
        let finish = self.finish();
        // Responses of the API's first weeks, or from before it opened, are few and of mixed sorts.
        let early = stated.created.is_some_and(|seconds| seconds < EARLY_RESPONSES_END);
        for (doubt, reason) in [
            (self.hides(), Reason::ReasoningHidden),
            (model.responses < self.exchange.needed(calls > 0), Reason::UnknownModel),
            (self.is_hosted(), Reason::HostedTool),
            (calls == 1 && self.may_be_wrapped(), Reason::ParallelCalls),
            (texts == 0 && self.is_silent(0) && self.exchange.whole && !self.hides(), Reason::EmptyAnswer),
            (facts.custom_tools || self.items.customs().next().is_some(), Reason::CustomTool),
            (finish == Some("content_filter"), Reason::ContentFilter),
            (
                !matches!(
                    finish,
                    None | Some("completed" | "max_output_tokens" | "content_filter" | "failed")
                ),
                Reason::UnknownFields,
            ),
            (self.items.odd || facts.tool_choice == ToolChoice::Other, Reason::UnknownFields),
            (self.is_forced() && calls > 0, Reason::NamedToolChoice),
            // No recording of a classic model has it.
            (facts.tool_choice == ToolChoice::Nothing && facts.functions > 0, Reason::ToolChoice),
            (calls > 0 && texts > 0, Reason::TextAndCall),
            (texts > 1, Reason::SeveralMessages),
            (self.has_long_json(), Reason::JsonSchema),
            (usage_was_divided(stated, self.response, model), Reason::DividedUsage),
            (self.items.overflow, Reason::TooManyChoices),
            (!facts.complete, Reason::RequestUnread),
            (facts.compacts, Reason::Compaction),
            (early, Reason::EarlyResponses),
        ] {
            if doubt {
                computed.because(reason);
            }
        }
        // A stream may name a text that nothing of comes, and a document leave it out.
        let to_own = self.items.own().any(|(kind, text)| kind == ItemKind::Tool && !text.is_empty());
        let to_tools = self.items.customs().next().is_some() || to_own;
        computed.lower_bound = (self.hides() || to_tools) && !early;
    }
}

/// The model thinks before it speaks.
fn thinks(model: Model) -> bool {
    model.frames.thinks
}

/// From June 2025 on the service divided both numbers by the calls of a response (input 20 of 20, output
/// 22 of 22, to January 2026); on February 18, 2026 it did so no more. Seconds since 1970.
const DIVIDED: std::ops::Range<u64> = 1_748_736_000..1_771_372_800;

/// The service's own numbers of this response are a part of what was used.
pub(super) fn usage_was_divided(stated: &ResponseFacts, response: &ItemsReader, model: Model) -> bool {
    let then = stated.created.is_some_and(|seconds| DIVIDED.contains(&seconds));
    then && !model.frames.thinks && response.items.calls().nth(1).is_some()
}

fn kept(call: &SeenItem) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&call.kept)
}
