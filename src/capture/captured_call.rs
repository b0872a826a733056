//! A call whose content is captured: what its parts say in the clear, and what the network threads and `tw-capture`
//! tell each other of each side.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use metering::usage::{ContentCaller, ContentSide, ContentTarget, UsageRecord};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::tee::BudgetShare;

/// A call that is captured.
#[derive(Debug)]
pub(super) struct CapturedCall {
    pub(super) id: Uuid,
    /// The caller's share of `--capture-memory`.
    pub(super) share: BudgetShare,
    pub(super) usage: UsageRecord,
    pub(super) caller: ContentCaller,
    pub(super) target: ContentTarget,
    pub(super) request: CapturedSide,
    pub(super) response: CapturedSide,
}

/// One side of it.
#[derive(Debug, Default)]
pub(super) struct CapturedSide {
    /// Its head; set before its first block.
    pub(super) head: OnceLock<MessageHead>,
    /// Bytes of it that are with the capture thread and not yet sealed.
    pub(super) queued_bytes: AtomicUsize,
    /// The network thread has given it up: what is open of it is sealed as truncated, and nothing follows.
    pub(super) is_cut: AtomicBool,
    /// Position in the spool of the last part of it that was stored; 0: none.
    pub(super) stored_at: AtomicU64,
    /// The capture thread has lost a part of it: nothing more of it is wanted.
    pub(super) is_lost: AtomicBool,
}

/// The facts that the head of a message states of its content, and the edits of the sidecar.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageHead {
    pub(super) content_type: Option<SmolStr>,
    pub(super) content_encoding: Option<SmolStr>,
    /// Of responses.
    pub(super) status: Option<u16>,
    /// The members or events that the sidecar added or took out.
    pub(super) edited: Vec<SmolStr>,
}

impl CapturedCall {
    pub(super) fn side(&self, side: ContentSide) -> &CapturedSide {
        match side {
            ContentSide::Request => &self.request,
            ContentSide::Response => &self.response,
        }
    }
}
