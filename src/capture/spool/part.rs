//! A part that is sealed and not yet stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metering::usage::{ContentEvent, ContentSide};

use super::super::captured_call::{CapturedCall, CapturedSide};

/// A sealed part. Its sequence follows when it is stored, so that a part that is lost leaves no gap.
#[derive(Debug)]
pub(in crate::capture) struct SealedPart {
    pub(in crate::capture) event: ContentEvent,
    pub(in crate::capture) call: Arc<CapturedCall>,
    pub(in crate::capture) side: ContentSide,
    /// Memory that it holds, which the budget knows of.
    pub(in crate::capture) held_bytes: usize,
}

impl SealedPart {
    pub(super) fn captured_side(&self) -> &CapturedSide {
        self.call.side(self.side)
    }

    /// A part of this side before it was lost: what is kept is a prefix, so this one is lost too.
    pub(super) fn follows_a_loss(&self) -> bool {
        self.captured_side().is_lost.load(Ordering::Acquire)
    }

    /// Bytes in it, as they passed.
    pub(super) fn bytes_raw(&self) -> u64 {
        self.event.data.facts.bytes_raw
    }
}
