//! Counters of content that was captured and lost since the start, for metrics and for the control events of the content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metering::usage::{CaptureState, ContentSide};
use smol_str::SmolStr;
use strum::VariantArray;

const STATES: usize = CaptureState::VARIANTS.len();

/// Calls by what was kept of one side of them, in the order of the variants.
type CallsByState = [AtomicU64; STATES];

/// The counters. Network threads count calls; the capture thread and the spool do the rest.
#[derive(Debug, Default)]
pub(super) struct CaptureCounters {
    requests: CallsByState,
    responses: CallsByState,
    /// Parts that were stored, and the bytes in them as they passed.
    pub(super) parts: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Parts that could not be sealed or stored, and the bytes in them as they passed.
    pub(super) lost_parts: AtomicU64,
    pub(super) lost_bytes: AtomicU64,
    /// Parts that the broker refused for good.
    pub(super) refused: AtomicU64,
    /// Bytes that the spool's database holds.
    pub(super) spool_bytes: AtomicU64,
    /// Damaged databases beside the spool's.
    pub(super) moved_aside: AtomicU64,
    /// Parts and control events that are stored and not delivered.
    pub(super) undelivered: AtomicU64,
    /// Parts cannot be stored now: the spool is full, or its disk fails, or the thread is gone.
    pub(super) degraded: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Calls whose request ended in each state; a state without any is absent.
    pub requests: BTreeMap<CaptureState, u64>,
    /// Calls whose response ended in each state.
    pub responses: BTreeMap<CaptureState, u64>,
    /// Parts that were stored.
    pub parts: u64,
    /// Bytes in them, as they passed.
    pub bytes: u64,
    /// Parts that could not be sealed or stored.
    pub lost_parts: u64,
    /// Bytes in them, as they passed.
    pub lost_bytes: u64,
    /// Parts that the broker refused for good.
    pub refused: u64,
    /// Bytes that the spool's database holds.
    pub spool_bytes: u64,
    /// Damaged databases that lay beside the spool's when it was opened.
    pub moved_aside: u64,
    /// Events of the spool that are not delivered.
    pub undelivered: u64,
    /// Parts cannot be stored now.
    pub degraded: bool,
}

impl CaptureCounters {
    /// Counts a call that is over.
    pub(super) fn count_call(&self, side: ContentSide, state: CaptureState) {
        self.side(side)[state as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts parts that are lost behind the usage event.
    pub(super) fn lose(&self, parts: u64, bytes: u64) {
        self.lost_parts.fetch_add(parts, Ordering::Relaxed);
        self.lost_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Parts can be stored.
    pub(super) fn is_storing(&self) -> bool {
        !self.degraded.load(Ordering::Acquire)
    }

    /// The states of one side as a control event says them.
    pub(super) fn calls_said(&self, side: ContentSide) -> BTreeMap<SmolStr, u64> {
        self.calls(side).map(|(state, calls)| (SmolStr::new_static(state.as_str()), calls)).collect()
    }

    /// The counters now.
    pub(super) fn stats(&self) -> CaptureStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CaptureStats {
            requests: self.calls(ContentSide::Request).collect(),
            responses: self.calls(ContentSide::Response).collect(),
            parts: of(&self.parts),
            bytes: of(&self.bytes),
            lost_parts: of(&self.lost_parts),
            lost_bytes: of(&self.lost_bytes),
            refused: of(&self.refused),
            spool_bytes: of(&self.spool_bytes),
            moved_aside: of(&self.moved_aside),
            undelivered: of(&self.undelivered),
            degraded: !self.is_storing(),
        }
    }

    fn side(&self, side: ContentSide) -> &CallsByState {
        match side {
            ContentSide::Request => &self.requests,
            ContentSide::Response => &self.responses,
        }
    }

    fn calls(&self, side: ContentSide) -> impl Iterator<Item = (CaptureState, u64)> {
        let calls = CaptureState::VARIANTS.iter().zip(self.side(side));
        calls.map(|(state, calls)| (*state, calls.load(Ordering::Relaxed))).filter(|(_, calls)| *calls > 0)
    }
}
