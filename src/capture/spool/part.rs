//! A part that is sealed and not yet stored.

use metering::usage::ContentEvent;

use super::super::unstored_part::UnstoredPart;

/// A sealed part. Its sequence follows when it is stored, so that a part that is lost leaves no gap.
#[derive(Debug)]
pub(in crate::capture) struct SealedPart {
    pub(in crate::capture) event: ContentEvent,
    pub(in crate::capture) unstored: UnstoredPart,
}

impl SealedPart {
    /// Memory that it holds, which the budget knows of.
    pub(super) fn held_bytes(&self) -> usize {
        self.unstored.held.bytes()
    }
}
