//! WebSocket framing (RFC 6455 section 5) and the compression of messages (RFC 7692), read on borrowed bytes.
//!
//! Payloads that nobody reads are passed over, so that any length of frame takes a few bytes of memory and no time.
//! Of the others masking and compression are undone on copies, a little at a time.
//!
//! | file | what it holds |
//! |---|---|
//! | `reader` | one direction: where its frames begin and end, and the text messages in them |
//! | `extensions` | the compression that a handshake agreed upon |
//! | `write` | frames as a sender writes them |
//! | `inflate` | the compressed messages of one direction, in bounded memory |

mod extensions;
mod inflate;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub use extensions::{Compression, Extensions};
pub use reader::{Frames, MessageSink};
pub use write::{FrameKind, frame};
