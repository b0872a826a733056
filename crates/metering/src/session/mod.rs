//! The messages of a WebSocket session: which responses it has, when each begins and ends, and what each is shown.
//!
//! Whoever runs the session keeps a call for each response, as if it had come by HTTP, and has it shown its events in
//! the same form. Messages are read in constant memory, whatever their size and the order of their members.
//!
//! | file | what it holds |
//! |---|---|
//! | `observer` | a session: its two directions, and what its messages mean |
//! | `sink` | what is told of a session |
//! | `drafts` | what each of its responses begins with |
//! | `first_end` | how it ended |
//! | `realtime` | the messages of the Realtime API |
//! | `responses` | the events of the Responses API |
//! | `requests` | the messages of a caller that ask for responses |
//! | `lanes` | the responses that are open |
//! | `head` | the few members of a message that say what it is |
//! | `event` | a message as an event of a stream |

mod drafts;
mod event;
mod first_end;
mod head;
mod lanes;
mod observer;
mod realtime;
mod requests;
mod responses;
mod sink;

#[cfg(test)]
mod tests;

pub use drafts::ResponseDrafts;
pub use first_end::{FirstEnd, SessionSide};
pub use observer::Session;
pub use sink::{BegunResponse, LaneNumber, SessionSink};
