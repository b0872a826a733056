//! How a call ended, as the data path saw it.

use crate::usage::{Outcome, Reason};

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response body ended as its framing promised.
    Eof,
    /// The client left.
    ClientDisconnect,
    /// No response could be had, or it broke off.
    UpstreamError,
    /// One of our time limits.
    Timeout,
    /// The process is stopping.
    Shutdown,
    /// Refused before it was sent.
    Rejected,
}

impl Ending {
    /// The outcome, as far as the data path alone can tell.
    pub fn outcome(self) -> Outcome {
        match self {
            Ending::Eof => Outcome::Complete,
            Ending::ClientDisconnect => Outcome::ClientDisconnect,
            Ending::UpstreamError => Outcome::UpstreamError,
            Ending::Timeout => Outcome::Timeout,
            Ending::Shutdown => Outcome::Shutdown,
            Ending::Rejected => Outcome::Rejected,
        }
    }
}

/// The fate of a response whose caller left before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// It was read on.
    pub drained: bool,
    /// The bound that ended that, or that kept it from beginning.
    pub stopped: Option<Reason>,
}
