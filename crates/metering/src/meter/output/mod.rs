//! The cost of a response by the service's rules, where it does not name one itself.
//!
//! | file | idea |
//! |---|---|
//! | `dispatch` | the rules that an API goes by |
//! | `chat`, `plain`, `responses` | the rules of chat completions, of the older completions, of the Responses API |
//! | `own` | the words of a model to tools that are no functions |
//! | `exchange` | the exchange, and what all rules have in common |
//! | `computed` | the number and its reasons |

mod chat;
mod computed;
mod dispatch;
mod exchange;
mod own;
mod plain;
mod responses;

pub(super) use computed::Computed;
pub(super) use dispatch::{count, usage_was_divided};
pub(super) use exchange::MeteredExchange;
