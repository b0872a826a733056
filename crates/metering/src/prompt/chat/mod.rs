//! The prompt of a chat completion.
//!
//! | file | idea |
//! |---|---|
//! | `prompt` | its bill, message by message |
//! | `request` | the parts of a request, each found by its name |
//! | `history` | which call a result belongs to |
//! | `unproven` | what recordings do not cover |

mod history;
mod prompt;
mod request;
#[cfg(test)]
mod tests;
mod unproven;

pub(super) use prompt::count;
