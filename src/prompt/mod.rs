//! Prompt rules.

mod json;
mod model;

pub use json::{compact, parallel};
pub use model::{Family, Model, model};

/// The count of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCount {
    /// Its tokens; `None` if the rules say nothing.
    pub tokens: Option<u64>,
    /// Why the number is not exact, without the side: `remote_image`.
    pub reasons: Vec<&'static str>,
}
/// Version of the rules; stands in `accounting.rules`.
pub const RULES: &str = "chat-1";
/// TODO
pub fn count_chat(_body: &[u8], _model: &str) -> PromptCount {
    PromptCount::default()
}
