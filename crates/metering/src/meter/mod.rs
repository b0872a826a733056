//! One call's accounting: what has been seen, and what it costs.
//!
//! No I/O, no clock, no panic on any bytes. The data path shows a [`Meter`] each piece of the call as
//! it goes by and asks it at the end for the usage event. The service's own numbers win; where it
//! reports none, the rules of [`crate::prompt`] and of `output` are applied.
//!
//! Order of calls: [`Meter::request_bytes`]\*, [`Meter::request_end`], [`Meter::response_head`],
//! [`Meter::response_bytes`]\*, [`Meter::end`], [`Meter::settle`]; request and response may overlap.
//! [`Meter::prompt_need`] can be asked at any time, and must be asked after [`Meter::end`].
//!
//! | file | idea |
//! |---|---|
//! | `call` | the [`Meter`] of a call: what it is shown as the call goes by |
//! | `request` | the body of the request, and the facts in it |
//! | `decode` | the coding of a body is undone, on a copy |
//! | `body` | from the bytes of a response to events or a document |
//! | `read/` | from events and documents to what they say: a reader for each kind of body |
//! | `served` | who served the call, by the head of the response |
//! | `skim` | a response that is read on while its meter counts elsewhere |
//! | `prompt`, `prompt_state`, `early` | whether the prompt has to be counted, when, and by which model |
//! | `output/` | the tokens of a response by the service's rules |
//! | `outcome`, `billing`, `error_words` | how the call ended, and whether the service bills it |
//! | `numbers`, `side` | both numbers, where each comes from, and how good it is |
//! | `units` | things that are billed otherwise than by tokens |
//! | `settle`, `describe` | the event |
//! | `deferred` | work that goes on after the call, and its bill |
//! | `check` | where the service's number stands beside ours |
//! | `ending`, `rules`, `frames_read` | the words in which the data path tells of a call |

mod billing;
mod body;
mod call;
mod check;
mod decode;
mod deferred;
mod describe;
mod early;
mod ending;
mod error_words;
mod frames_read;
mod numbers;
mod outcome;
mod output;
mod prompt;
mod prompt_state;
mod read;
mod request;
mod rules;
mod served;
mod settle;
mod side;
mod skim;
mod units;

#[cfg(test)]
mod tests;

pub use self::body::Bounds;
pub use self::call::Meter;
pub use self::check::{Check, Checks, PromptSample};
pub use self::ending::{Ending, Left};
pub(crate) use self::error_words::status_named;
pub use self::frames_read::{FramesRead, SessionNames};
pub use self::prompt::count_prompt;
pub use self::prompt_state::PromptNeed;
pub(crate) use self::read::label;
pub use self::request::Representation;
pub use self::rules::Rules;
pub use self::served::served_fields;
pub use self::skim::Skim;
pub use crate::api::Treatment;
pub use crate::prompt::{BillPart, PromptCount};
