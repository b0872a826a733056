//! The client of a call: how far its request has come, and whether it left.

use metering::meter::{Ending, Left};

/// How far the request's body has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RequestBody {
    #[default]
    Arriving,
    /// It was read to its end.
    Whole,
    /// It broke off: whatever fails now is the client's doing.
    Broken,
}

/// How far the request has come, and whether its client is still there.
#[derive(Debug, Default)]
pub(super) struct ClientState {
    pub(super) request: RequestBody,
    /// It left before the end of the response.
    pub(super) left: Option<Left>,
    /// It did not leave by itself: it was cut off, since it made no progress.
    pub(super) cut_off_idle: bool,
}

impl ClientState {
    /// The response is not waited for any more.
    pub(super) fn is_gone(&self) -> bool {
        self.left.is_some() || self.request == RequestBody::Broken
    }

    /// The ending of the call, given how it ended for the data path and whether the client was found idle.
    pub(super) fn explain(&mut self, ending: Ending, idle: bool) -> Ending {
        let its_doing = self.request == RequestBody::Broken && ending == Ending::UpstreamError;
        let left = its_doing || ending == Ending::ClientDisconnect;
        self.cut_off_idle |= left && idle;
        match ending {
            // It would not have left by itself.
            _ if left && idle => Ending::Timeout,
            _ if left => Ending::ClientDisconnect,
            ending => ending,
        }
    }
}
