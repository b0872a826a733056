//! The content of each call, as the usage events tell what of it was kept.

use jiff::Timestamp;
use metering::usage::{Capture, StoredUsage};
use uuid::Uuid;

use crate::report::error::InputBound;

/// Calls whose content was captured, 112 bytes each: 470 MB.
const CALLS_MAX: usize = 1 << 22;

const _: () = assert!(size_of::<CapturedUsage>() <= 112);

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
#[derive(Debug, Default)]
pub(in super::super) struct CapturedCalls {
    pub(super) all: Vec<CapturedUsage>,
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
        (self.all.len() > CALLS_MAX).then_some(InputBound::CapturedCalls(CALLS_MAX))
    }

    /// Puts them in the order of their ledgers and ids.
    pub(super) fn sorted(mut self) -> Vec<CapturedUsage> {
        self.all.sort_unstable_by_key(|call| (call.source, call.call));
        self.all
    }
}
