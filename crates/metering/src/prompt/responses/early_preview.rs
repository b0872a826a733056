//! The first weeks of the Responses API, when the service added to prompts what it does not add now.

use crate::prompt::model::Model;
use crate::tokens::Encoding;

/// April 2025, in seconds since 1970. From the day the API opened until about then, the service put a
/// text of its own before every prompt; a recording of April 7 has none any more.
pub const EARLY_RESPONSES_END: u64 = 1_743_465_600;

/// The API opened on March 11, 2025.
const OPENED: u64 = 1_741_651_200;

/// Tokens of that text: a message of 14, + 4. Seen in 9 of 9 recordings, and in the example of the API's
/// documentation: 36 tokens where the rules give 18.
const PREAMBLE_TOKENS: i64 = 18;

/// Where functions are offered, the wrapper for calls made together was described as well. Seen in
/// 5 of 5 recordings.
const WRAPPER_TOKENS: i64 = 198;

/// The tokens that the service added to a prompt that it answered at `created`; 0 now.
pub(crate) fn preamble(model: Model, created: u64, functions: bool) -> i64 {
    let has_one = !model.frames.thinks && model.encoding == Encoding::O200kBase;
    if !has_one || !(OPENED..EARLY_RESPONSES_END).contains(&created) {
        return 0;
    }
    PREAMBLE_TOKENS + if functions { WRAPPER_TOKENS } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_then_and_only_for_the_models_of_then() {
        let extra = |name: &str, created, functions| {
            preamble(crate::prompt::model(name).unwrap(), created, functions)
        };
        assert_eq!(extra("gpt-4o-2024-08-06", 1_742_000_000, false), 18);
        assert_eq!(extra("gpt-4o-2024-08-06", 1_742_000_000, true), 216);
        assert_eq!(extra("gpt-4o-2024-08-06", 1_744_000_000, true), 0);
        assert_eq!(extra("gpt-5", 1_742_000_000, false), 0);
    }
}
