//! Calls and blocks of the tests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use metering::caller::Trust;
use metering::usage::{Api, ContentCaller, ContentSide, ContentTarget, UsageRecord};
use uuid::Uuid;

use super::block::{Block, PartEnd};
use super::captured_call::CapturedCall;
use super::memory::{CaptureMemory, HeldMemory};
use crate::tee::BudgetShare;

/// A call of some caller.
pub(super) fn call() -> Arc<CapturedCall> {
    Arc::new(CapturedCall {
        id: Uuid::now_v7(),
        share: BudgetShare::of_hash(7),
        usage: UsageRecord::Event,
        caller: ContentCaller { id: "caller".into(), department: None, trust: Trust::None },
        target: ContentTarget {
            api: Api::ChatCompletions,
            resource: "resource".into(),
            deployment: Some("gpt".into()),
            model: None,
            api_version: None,
        },
        request: Default::default(),
        response: Default::default(),
    })
}

/// A block of it, as a network thread hands it over: its memory is taken, and its bytes are queued.
pub(super) fn block(
    memory: &Arc<CaptureMemory>,
    call: &Arc<CapturedCall>,
    side: ContentSide,
    part: u64,
    bytes: &[u8],
    end: Option<PartEnd>,
) -> Block {
    assert!(memory.try_take(call.share, bytes.len()));
    call.side(side).queued_bytes.fetch_add(bytes.len(), Ordering::AcqRel);
    Block {
        call: Arc::clone(call),
        side,
        part,
        pieces: vec![Bytes::copy_from_slice(bytes)],
        bytes: bytes.len(),
        held: HeldMemory::of_taken(memory, call.share, bytes.len()),
        end,
    }
}
