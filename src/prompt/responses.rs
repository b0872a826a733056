//! The prompt of a Responses request.

use super::model::Model;
use super::{Object, PromptCount};

/// Counts `request`.
pub(super) fn count(_request: &Object, _model: Model) -> PromptCount {
    PromptCount::unknown("api_not_computed")
}
