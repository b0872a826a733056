//! The content of each call, as the usage events tell what of it was kept.

use jiff::Timestamp;
use metering::usage::{Capture, StoredUsage};
use uuid::Uuid;

use crate::report::error::InputBound;
use crate::report::verify::options::VerifyOptions;

/// Calls whose content was captured, 112 bytes each: 470 MB.
const CALLS_MAX: usize = 1 << 22;

const _: () = assert!(size_of::<CapturedUsage>() <= 112);

/// Without a time it may have been then.
pub(super) fn is_in_range(time: Option<Timestamp>, options: &VerifyOptions) -> bool {
    time.is_none_or(|time| options.is_in_range(time))
}

/// A call, as its usage event tells of its content.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct CapturedUsage {
    /// The ledger, by its place among the spans.
    pub(super) source: usize,
    pub(super) call: Uuid,
    pub(super) capture: Capture,
    pub(super) began: Option<Timestamp>,
    pub(super) time: Option<Timestamp>,
}

/// The calls of all usage events.
#[derive(Debug)]
pub(in super::super) struct CapturedCalls {
    all: Vec<CapturedUsage>,
    max: usize,
}

impl Default for CapturedCalls {
    fn default() -> CapturedCalls {
        CapturedCalls { all: Vec::new(), max: CALLS_MAX }
    }
}

impl CapturedCalls {
    /// Takes a usage event.
    pub(in super::super) fn note(
        &mut self,
        source: usize,
        id: &str,
        usage: &StoredUsage,
        time: Option<Timestamp>,
    ) {
        let (Some(capture), Ok(call)) = (usage.capture, id.parse()) else { return };
        self.all.push(CapturedUsage { source, call, capture, began: usage.timing.started_at, time });
    }

    /// The bound that is crossed, if any is.
    pub(in super::super) fn crossed_bound(&self) -> Option<InputBound> {
        (self.all.len() > self.max).then_some(InputBound::CapturedCalls(self.max))
    }

    /// Puts them in the order of their ledgers and ids.
    pub(super) fn sorted(mut self) -> SortedCalls {
        self.all.sort_unstable_by_key(CapturedUsage::place);
        SortedCalls { all: self.all }
    }
}

impl CapturedUsage {
    /// A call is of the time of its usage event, and all of its parts are judged with it.
    pub(super) fn is_judged(&self, options: &VerifyOptions) -> bool {
        is_in_range(self.time, options)
    }

    /// The ledger, by its place, and the call.
    pub(super) fn place(&self) -> (usize, Uuid) {
        (self.source, self.call)
    }
}

/// The same, in order.
#[derive(Debug)]
pub(super) struct SortedCalls {
    pub(super) all: Vec<CapturedUsage>,
}

impl SortedCalls {
    /// The call of a ledger, if a usage event tells of it.
    pub(super) fn find(&self, source: usize, call: Uuid) -> Option<&CapturedUsage> {
        let at = self.all.partition_point(|known| known.place() < (source, call));
        self.all.get(at).filter(|known| known.place() == (source, call))
    }
}

#[cfg(test)]
mod tests;
