//! The first end of a session that means something, and what it makes of the session.

use strum::EnumString;

use crate::meter::Ending;

/// The two sides of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum SessionSide {
    /// The caller.
    Client,
    /// The service.
    Server,
}

/// The first end of a session that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstEnd {
    /// The side that ended it.
    pub side: SessionSide,
    /// That side broke it off.
    pub broken: bool,
}

impl FirstEnd {
    /// A side has closed the session, or has nothing more to send.
    pub fn closed_by(side: SessionSide) -> FirstEnd {
        FirstEnd { side, broken: false }
    }

    /// A side has broken the session off.
    pub fn broken_by(side: SessionSide) -> FirstEnd {
        FirstEnd { side, broken: true }
    }

    /// How the session ended. `responding`: a response is left open, which a side that closes breaks off.
    pub fn ending(self, responding: bool) -> Ending {
        match self.side {
            _ if !self.broken && !responding => Ending::Eof,
            SessionSide::Client => Ending::ClientDisconnect,
            SessionSide::Server => Ending::UpstreamError,
        }
    }
}
