//! The exchange as the rules of all APIs look at it, and the rules that they have in common.

use crate::chunk::RequestFacts;
use crate::meter::read::{ResponseFacts, SeenChoice};
use crate::meter::rules::Rules;
use crate::prompt::{Model, Proof};
use crate::tokens;

/// By this part of a limit the count of a text may be off.
const LIMIT_PART_OFF_MAX: u64 = 8;

/// A lower bound has one token less for so many of a text: a model that writes a long one may find a
/// shorter way than its vocabulary's own (3 of 2,495 tokens, once).
pub(super) const SLACK_TOKENS: i64 = 512;

/// Responses to a schema of more tokens are not called exact.
const SCHEMA_TOKENS_MAX: i64 = 256;

/// An exchange as the rules look at it.
#[derive(Clone, Copy)]
pub(crate) struct MeteredExchange<'a> {
    pub(crate) stated: &'a ResponseFacts,
    pub(crate) model: Model,
    pub(crate) facts: &'a RequestFacts,
    pub(crate) rules: Rules,
    /// The response was seen to its end.
    pub(crate) whole: bool,
    /// Tokens of the prompt, for a response that repeats it.
    pub(crate) prompt_tokens: Option<u64>,
}

impl MeteredExchange<'_> {
    /// The head of a response that follows a JSON schema, where the model writes it itself: it names the
    /// schema.
    pub(super) fn schema_head(&self) -> i64 {
        let name = self.facts.schema_name.as_deref().filter(|_| self.facts.json_schema);
        name.map_or(0, |name| signed(tokens::count(self.model.encoding, name)) + 2)
    }

    /// The model may have thought where it is not seen. gpt-5.2 and later do not if they are told to: the
    /// computed number is the bill in 174 of 175 responses.
    pub(super) fn may_think(&self) -> bool {
        let told = self.facts.thinks_not && !self.facts.thinks_otherwise;
        self.model.frames.thinks && !(told && self.model.frames.shows_reasoning)
    }

    /// The proof that the model's rules need.
    pub(super) fn needed(&self, calls: bool) -> Proof {
        let functions = self.facts.functions > 0 || self.facts.legacy_functions;
        if calls || functions || self.facts.json_schema { Proof::Functions } else { Proof::Texts }
    }

    /// A response to a schema that may not have been written with the fewest tokens: what fits the schema
    /// is chosen token by token, and of five long ones (300 tokens and more) three have one to three more,
    /// of 426 shorter ones none. One that goes on behind its end is two responses, each with its head (2 of
    /// 2).
    pub(super) fn is_long_json(&self, tokens: i64, breaks: bool) -> bool {
        let functions = self.facts.functions > 0;
        self.facts.json_schema && (tokens > SCHEMA_TOKENS_MAX || functions && self.facts.strict && breaks)
    }

    /// Tokens of a choice's content and refusal; `None` if its text is lost. Entries of `logprobs` are
    /// the very tokens that were sampled; they are taken where they cover the text byte for byte.
    pub(super) fn text(&self, choice: &SeenChoice) -> Option<u64> {
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

/// No text has so many tokens that this matters.
pub(super) fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Tokens of a response that `length` has cut: its limit, if there is one and the text has about as many.
///
/// The model may write a text with other tokens than its shortest, and half a character at the end is
/// not sent, so the count of the text can be off; the limit is what the service counted to (8 of 8
/// recordings, of which the text's own count hits 7). Far below the limit it was the model's window that
/// cut the response.
pub(super) fn limited(counted: u64, limit: Option<u64>) -> u64 {
    let near = |limit: &u64| limit.abs_diff(counted) <= 1 + limit / LIMIT_PART_OFF_MAX;
    limit.filter(near).unwrap_or(counted)
}
