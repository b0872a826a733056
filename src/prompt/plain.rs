//! Prompts that are nothing but text or token ids: legacy completions and embeddings.

use super::model::Model;
use super::{Object, PromptCount};
use crate::usage::Api;

/// Counts `request`.
pub(super) fn count(_api: Api, _request: &Object, _model: Model) -> PromptCount {
    PromptCount::unknown("api_not_computed")
}
