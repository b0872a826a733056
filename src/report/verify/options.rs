//! The events to verify, and what counts as no fault.

use std::time::Duration;

use jiff::Timestamp;
use metering::usage::ControlKey;

use crate::report::input::Input;

/// How often sidecars write control events where nobody says otherwise.
const CONTROL_INTERVAL: Duration = Duration::from_secs(60);

/// The events to verify, and what counts as no fault.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Where events come from.
    pub inputs: Vec<Input>,
    /// How often the sidecars write control events: a boot whose last one is younger than two
    /// intervals is still open.
    pub control_interval: Duration,
    /// Copies with equal bytes are only counted: on a topic each event is delivered at least once.
    pub allow_repeats: bool,
    /// A boot that still runs is no finding: the sidecars are alive.
    pub allow_open: bool,
    /// Lines, or a spool of content, begin in the middle: what lies before the first one of a ledger's oldest boot is
    /// not missing.
    pub allow_cut: bool,
    /// Rows whose bytes an engine has rendered anew are only counted: the digests prove what they say.
    pub allow_re_rendered: bool,
    /// Only boots and control periods are judged that touch the time from here on, and of content only calls whose usage
    /// event is of it.
    pub from: Option<Timestamp>,
    /// And up to here, exclusive.
    pub to: Option<Timestamp>,
    /// When the events were read, of an input that goes on: a boot that should be writing now and is silent is a
    /// finding. `None`: nothing is known but the events.
    pub as_of: Option<Timestamp>,
    /// Ledgers of which there must be events.
    pub expected_sources: Vec<String>,
    /// The key that has signed the control events.
    pub control_key: Option<ControlKey>,
}

impl VerifyOptions {
    /// All events of the inputs, with every fault a finding.
    pub fn new(inputs: Vec<Input>) -> VerifyOptions {
        VerifyOptions {
            inputs,
            control_interval: CONTROL_INTERVAL,
            allow_repeats: false,
            allow_open: false,
            allow_cut: false,
            allow_re_rendered: false,
            from: None,
            to: None,
            as_of: None,
            expected_sources: Vec::new(),
            control_key: None,
        }
    }

    /// An instant lies in the time that is judged.
    pub(super) fn is_in_range(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// Some time between two instants does; an instant that is not known may be any.
    pub(super) fn touches_range(&self, begin: Option<Timestamp>, end: Option<Timestamp>) -> bool {
        let is_over = self.from.zip(end).is_some_and(|(from, end)| end < from);
        let is_later = self.to.zip(begin).is_some_and(|(to, begin)| to <= begin);
        !is_over && !is_later
    }
}
