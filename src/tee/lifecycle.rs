//! How far a call has come.

use std::time::Duration;

use jiff::Timestamp;
use metering::meter::Ending;

/// The states of a call, in their order. None is left out and none comes again, so a call settles once.
#[derive(Clone, Copy, Debug)]
pub(super) enum CallLifecycle {
    /// Bytes may come.
    Open,
    /// The call is over. The rest of its response is read, and its request where that is left to the pool.
    Ended(CallEnd),
    /// The meter knows of the end, is being told, or was lost. The prompt is counted if it is needed.
    Concluded(CallEnd),
    /// The event is made.
    Settled,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallEnd {
    pub(super) ending: Ending,
    /// Since the call began.
    pub(super) after: Duration,
    pub(super) at: Timestamp,
}
