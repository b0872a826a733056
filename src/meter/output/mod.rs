//! What an answer costs by the service's rules, where it does not say so itself: one file for each
//! kind of API.

mod chat;
mod responses;

use super::Rules;
use super::answer::Answer;
use crate::chunk::RequestFacts;
use crate::prompt::{Bill, Model, Part};
use crate::usage::Api;

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
    /// The rules that made it: `text`, `call`. Empty if there is no number.
    pub(super) class: &'static str,
    /// What it is made of.
    pub(super) parts: Vec<Part>,
}

impl Computed {
    pub(super) fn because(&mut self, reason: &'static str) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The number is the sum of `bill`.
    fn charge(&mut self, bill: Bill, class: &'static str) {
        self.tokens = Some(bill.total());
        self.class = class;
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
}

/// The tokens of an answer that has begun.
pub(super) fn count(api: Api, exchange: Exchange<'_>) -> Computed {
    match api {
        Api::ChatCompletions => chat::count(exchange),
        Api::Responses => responses::count(exchange),
        _ => Computed::default(),
    }
}

/// No text has so many tokens that this matters.
fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
