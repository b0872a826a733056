//! The blocks that a network thread hands over to `tw-capture`.

use std::sync::Arc;

use bytes::Bytes;
use metering::usage::{ContentSide, Outcome};

use super::captured_call::CapturedCall;
use super::memory::HeldMemory;

/// The next bytes of one side of a call. Blocks of a side come in order; parts are made by whoever sends them, so that
/// their number is known before they are sealed.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) call: Arc<CapturedCall>,
    pub(super) side: ContentSide,
    /// The part that it belongs to, from 0.
    pub(super) part: u64,
    pub(super) pieces: Vec<Bytes>,
    /// Bytes in the pieces: they are given back to the side's `queued_bytes` once they are sealed.
    pub(super) bytes: usize,
    /// Memory that they pin.
    pub(super) held: HeldMemory,
    /// The part ends with it.
    pub(super) end: Option<PartEnd>,
}

/// The end of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartEnd {
    /// Another one follows, or the side is cut.
    More,
    /// The side ends with it, in this way.
    Last {
        outcome: Outcome,
        /// More passed than is kept.
        truncated: bool,
    },
}
