//! What an answer costs by the service's rules, where it does not say so itself: one file for each
//! kind of API.

mod chat;
mod own;
mod plain;
mod responses;

pub(super) use responses::usage_was_divided;

use super::Rules;
use super::answer::{Answer, Choice};
use crate::chunk::RequestFacts;
use crate::prompt::{Bill, BillPart, Model, Proof};
use crate::tokens;
use crate::usage::{Api, Reason, RuleClass};

/// A computed number and why it is not exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Computed {
    pub(super) tokens: Option<u64>,
    /// The part that the service streamed as reasoning, where it does.
    pub(super) reasoning: Option<u64>,
    /// Without the side.
    pub(super) reasons: Vec<Reason>,
    /// The truth is this or more, by the nature of the model.
    pub(super) lower_bound: bool,
    /// The rules that made it; `None` if there is no number.
    pub(super) class: Option<RuleClass>,
    /// What it is made of.
    pub(super) parts: Vec<BillPart>,
}

impl Computed {
    pub(super) fn because(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The number is the sum of `bill`.
    fn charge(&mut self, bill: Bill, class: RuleClass) {
        self.tokens = Some(bill.total());
        self.class = Some(class);
        self.parts = bill.into_parts();
    }
}

/// What the rules look at.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) answer: &'a Answer,
    pub(super) model: Model,
    pub(super) facts: &'a RequestFacts,
    pub(super) rules: Rules,
    /// The answer was seen to its end.
    pub(super) whole: bool,
    /// Tokens of the prompt, for an answer that repeats it.
    pub(super) prompt_tokens: Option<u64>,
}

impl Exchange<'_> {
    /// The head of an answer that follows a JSON schema, where the model writes it itself: it names the
    /// schema.
    fn schema_head(&self) -> i64 {
        let name = self.facts.schema_name.as_deref().filter(|_| self.facts.json_schema);
        name.map_or(0, |name| signed(tokens::count(self.model.encoding, name)) + 2)
    }

    /// The model may have thought where nobody sees it. gpt-5.2 and later do not if they are told to: the
    /// computed number is the bill in 174 of 175 answers.
    fn may_think(&self) -> bool {
        let told = self.facts.thinks_not && !self.facts.thinks_otherwise;
        self.model.frames.thinks && !(told && self.model.frames.shows_reasoning)
    }

    /// What must be known of the model.
    fn needed(&self, calls: bool) -> Proof {
        let functions = self.facts.functions > 0 || self.facts.legacy_functions;
        if calls || functions || self.facts.json_schema { Proof::Functions } else { Proof::Texts }
    }

    /// An answer to a schema that may not have been written with the fewest tokens: what fits the schema
    /// is chosen token by token, and of five long ones (300 tokens and more) three have one to three more,
    /// of 426 shorter ones none. One that goes on behind its end is two answers, each with its head (2 of
    /// 2).
    fn is_long_json(&self, tokens: i64, breaks: bool) -> bool {
        let functions = self.facts.functions > 0;
        self.facts.json_schema && (tokens > SCHEMA_TOKENS_MAX || functions && self.facts.strict && breaks)
    }

    /// Tokens of a choice's content and refusal; `None` if its text is lost. Entries of `logprobs` are
    /// the very tokens that were sampled; they are taken where they cover the text byte for byte.
    fn text(&self, choice: &Choice) -> Option<u64> {
        let bytes = choice.content.bytes() + choice.refusal.bytes();
        match choice.logprobs {
            Some(logprobs) if logprobs.bytes == Some(bytes) && bytes > 0 => Some(logprobs.entries),
            _ => {
                let encoding = self.model.encoding;
                Some(choice.content.count(encoding)? + choice.refusal.count(encoding)?)
            }
        }
    }
}

/// The tokens of an answer that has begun.
pub(super) fn count(api: Api, exchange: Exchange<'_>) -> Computed {
    match api {
        Api::ChatCompletions => chat::count(exchange),
        Api::Responses => responses::count(exchange),
        Api::Completions => plain::count(exchange),
        _ => Computed::default(),
    }
}

/// No text has so many tokens that this matters.
fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Tokens of an answer that `length` has cut: its limit, if there is one and the text has about as many.
///
/// The model may write a text with other tokens than its shortest, and half a character at the end is
/// not sent, so the count of the text can be off; the limit is what the service counted to (8 of 8
/// recordings, of which the text's own count hits 7). Far below the limit it was the model's window that
/// cut the answer.
fn limited(counted: u64, limit: Option<u64>) -> u64 {
    let near = |limit: &u64| limit.abs_diff(counted) <= 1 + limit / LIMIT_PART_OFF_MAX;
    limit.filter(near).unwrap_or(counted)
}

/// A lower bound has one token less for so many of a text: a model that writes a long one may find a
/// shorter way than its vocabulary's own (3 of 2,495 tokens, once).
const SLACK_TOKENS: i64 = 512;

/// Answers to a schema of more tokens are not called exact.
const SCHEMA_TOKENS_MAX: i64 = 256;

/// By this part of a limit the count of a text may be off.
const LIMIT_PART_OFF_MAX: u64 = 8;
