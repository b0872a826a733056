//! The prompt of a request to the Responses API.
//!
//! | file | idea |
//! |---|---|
//! | `prompt` | its bill, item by item |
//! | `request` | the parts of a request, each found by its name |
//! | `early_preview` | what the service added in the first weeks |
//! | `unproven` | what recordings do not cover |

mod early_preview;
mod prompt;
mod request;
#[cfg(test)]
mod tests;
mod unproven;

pub use early_preview::EARLY_RESPONSES_END;
pub(super) use early_preview::preamble;
pub(super) use prompt::count;
