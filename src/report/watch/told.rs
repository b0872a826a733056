//! What a source tells, and to whom.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::report::error::ReportError;
use crate::telemetry::live::{HISTORY_SECONDS, LiveCall, LiveView};

/// How far `top` looks back to begin with: as far as the live page.
pub(super) const BEGIN: Duration = Duration::from_secs(HISTORY_SECONDS);

/// Calls that `tail` shows to begin with, as `tail` does of a file.
pub(super) const BEGIN_CALLS: u64 = 10;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Each call, beginning with the last few.
    Calls,
    /// Sums, beginning with those of the last minutes.
    Sums,
}

/// What is told.
#[derive(Debug)]
pub(super) enum Told {
    /// A call that is over.
    Call(Box<LiveCall>),
    /// So many calls were not told of, since they came faster than they were read.
    Missed(u64),
    /// The sums of a sidecar.
    View(Box<LiveView>),
    /// Not everything that is there has been told yet.
    Behind,
    /// Everything that was there has been told; more may come.
    UpToDate,
}

/// Hears what is told, and says whether to go on.
pub(super) type Hear<'a> = dyn FnMut(Told) -> Result<ControlFlow<()>, ReportError> + 'a;
