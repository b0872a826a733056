//! A part on its way into the spool. Whoever drops it before it is stored loses it, also in a panic: it is counted as lost,
//! nothing more of its side is wanted, so that what is kept stays a prefix, and its memory is given back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metering::usage::ContentSide;

use super::captured_call::{CapturedCall, CapturedSide};
use super::counters::CaptureCounters;
use super::memory::HeldMemory;

/// A part that is lost if it is dropped before it is stored.
#[derive(Debug)]
pub(super) struct UnstoredPart {
    pub(super) call: Arc<CapturedCall>,
    pub(super) side: ContentSide,
    /// Its number, from 0.
    pub(super) part: u64,
    /// Bytes in it, as they passed.
    pub(super) bytes_raw: u64,
    /// Memory that its content holds, whatever that is by now.
    pub(super) held: HeldMemory,
    counters: Arc<CaptureCounters>,
    is_stored: bool,
}

impl UnstoredPart {
    /// A part without bytes, which holds nothing yet.
    pub(super) fn new(
        call: &Arc<CapturedCall>,
        side: ContentSide,
        part: u64,
        held: HeldMemory,
        counters: &Arc<CaptureCounters>,
    ) -> UnstoredPart {
        let (call, counters) = (Arc::clone(call), Arc::clone(counters));
        UnstoredPart { call, side, part, bytes_raw: 0, held, counters, is_stored: false }
    }

    pub(super) fn captured_side(&self) -> &CapturedSide {
        self.call.side(self.side)
    }

    /// A part of this side before it was lost: what is kept is a prefix, so this one is to be lost too.
    pub(super) fn follows_a_loss(&self) -> bool {
        self.captured_side().is_lost.load(Ordering::Acquire)
    }

    /// Position of the part of this side that was stored last; 0: none.
    pub(super) fn side_stored_at(&self) -> u64 {
        self.captured_side().stored_at.load(Ordering::Relaxed)
    }

    /// It is stored at this position, and holds nothing more.
    pub(super) fn stored(mut self, position: u64) {
        self.is_stored = true;
        self.captured_side().stored_at.store(position, Ordering::Relaxed);
        self.counters.parts.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(self.bytes_raw, Ordering::Relaxed);
    }
}

impl Drop for UnstoredPart {
    fn drop(&mut self) {
        if !self.is_stored {
            self.captured_side().is_lost.store(true, Ordering::Release);
            self.counters.lose(1, self.bytes_raw);
        }
    }
}
