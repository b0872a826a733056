//! From a response to the rules of its API.

use super::computed::Computed;
use super::exchange::MeteredExchange;
use super::{chat, plain, responses};
use crate::api::RuleSet;
use crate::meter::read::{BodyReader, ResponseReader};
use crate::prompt::Model;

/// The tokens of a response that has begun. Rules count what their reader has read: nothing of another's.
pub(crate) fn count(rules: RuleSet, reader: &BodyReader, exchange: MeteredExchange<'_>) -> Computed {
    match (rules, reader) {
        (RuleSet::Chat, BodyReader::Choices(reader)) => chat::count(exchange, reader),
        (RuleSet::Completions, BodyReader::Choices(reader)) => plain::count(exchange, reader),
        (RuleSet::Responses, BodyReader::Items(reader)) => responses::count(exchange, reader),
        (RuleSet::Embeddings, _) => Computed::nothing(),
        (RuleSet::Chat | RuleSet::Completions | RuleSet::Responses, _) => Computed::default(),
    }
}

/// The service's own numbers of this response are a part of what was used.
pub(crate) fn usage_was_divided(response: &ResponseReader, model: Model) -> bool {
    let BodyReader::Items(reader) = &response.reader else { return false };
    responses::usage_was_divided(&response.facts, reader, model)
}
