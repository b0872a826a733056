//! How events are shown, and how often they are read.

use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::omissions::OmissionReason;

/// How often events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    One,
    Several,
}

/// Is shown each event as it was stored, or why what lies there is left out.
pub(crate) type EachEvent<'a> =
    dyn FnMut(Result<&str, OmissionReason>, EventOrigin<'_>) -> Result<(), ReportError> + 'a;
