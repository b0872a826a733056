//! The events to verify, and what counts as no fault.

use std::time::Duration;

use crate::report::input::Input;

/// The events to verify, and what counts as no fault.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Where events come from.
    pub input: Input,
    /// How often the sidecars write control events: a boot whose last one is younger than two
    /// intervals is still open.
    pub control_interval: Duration,
    /// Copies with equal bytes are only counted: on a topic each event is delivered at least once.
    pub allow_repeats: bool,
    /// A boot that still runs is no finding: the sidecars are alive.
    pub allow_open: bool,
    /// Lines begin in the middle: what lies before the first line of a ledger's oldest boot is not
    /// missing.
    pub allow_cut: bool,
}
