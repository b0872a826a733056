//! The fate of a call's content, for its event.

use std::fmt;

use metering::usage::Capture;

/// Tells what became of the content of one call. Whoever captures it may go on behind the event.
pub trait CaptureReport: fmt::Debug + Send + Sync {
    /// For the call's draft: what its event says if the process dies before its end.
    fn begun(&self) -> Capture;

    /// For its event: the call is over, and nothing more of it is captured. Must not wait.
    fn over(&self) -> Capture;
}
