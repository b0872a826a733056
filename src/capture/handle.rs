//! The handle of capturing, as the data path has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use metering::usage::{CaptureState, ContentCaller, ContentSide, ContentTarget, Usage, UsageRecord};
use smol_str::SmolStr;
use uuid::Uuid;

use super::call_capture::{CallCapture, SideCapture};
use super::captured_call::{CapturedCall, CapturedSide, MessageHead};
use super::counters::{CaptureCounters, CaptureStats};
use super::selection::{Selection, Wanted};
use super::side_recorder::BlockOutlet;

/// Bytes of a header's value that a part repeats: media types and codings are shorter.
const VALUE_BYTES_MAX: usize = 128;

/// Captures calls. Clones share it.
#[derive(Clone, Debug)]
pub struct Capturer {
    selection: Arc<Selection>,
    outlet: Arc<BlockOutlet>,
    counters: Arc<CaptureCounters>,
    /// There is no call without a record (`--on-capture-failure reject`).
    rejects: bool,
}

impl Capturer {
    pub(super) fn new(
        selection: Selection,
        outlet: Arc<BlockOutlet>,
        counters: Arc<CaptureCounters>,
        rejects: bool,
    ) -> Capturer {
        Capturer { selection: Arc::new(selection), outlet, counters, rejects }
    }

    /// Whether a call of this caller that began then is captured. The same whenever it is asked.
    pub fn wanted(&self, id: Uuid, caller: &str, at: Timestamp) -> Wanted {
        self.selection.wanted(id, caller, at)
    }

    /// Such a call must not be made, since its record has no room.
    pub fn refuses(&self, wanted: Wanted) -> bool {
        self.rejects && wanted == Wanted::Captured && !self.has_room()
    }

    /// No session must begin, since none is captured.
    pub fn refuses_sessions(&self, wanted: Wanted) -> bool {
        self.rejects && wanted == Wanted::Captured
    }

    /// There is room for another record.
    pub fn has_room(&self) -> bool {
        self.counters.is_storing() && !self.outlet.memory.is_tight()
    }

    /// Begins to capture a call. `headers` are its request's.
    pub fn begin(
        &self,
        id: Uuid,
        draft: &Usage,
        usage: UsageRecord,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Arc<CallCapture> {
        self.begin_leaving_out(id, draft, usage, self.selection.left_out(wanted), headers)
    }

    /// For the event of a call of which nothing is captured, whatever is wanted.
    pub fn begin_off(&self, id: Uuid, draft: &Usage) -> Arc<CallCapture> {
        let off = [Some(CaptureState::Off); 2];
        self.begin_leaving_out(id, draft, UsageRecord::Event, off, &HeaderMap::new())
    }

    fn begin_leaving_out(
        &self,
        id: Uuid,
        draft: &Usage,
        usage: UsageRecord,
        left_out: [Option<CaptureState>; 2],
        headers: &HeaderMap,
    ) -> Arc<CallCapture> {
        let call = CapturedCall {
            id,
            share: self.outlet.memory.share_of(&draft.caller.id),
            usage,
            caller: ContentCaller::of(&draft.caller),
            target: ContentTarget::of(draft),
            request: CapturedSide::default(),
            response: CapturedSide::default(),
        };
        let _ = call.request.head.set(head(headers, None, Vec::new()));
        CallCapture::new(call, left_out, Arc::clone(&self.outlet), Arc::clone(&self.counters))
    }

    /// From now on what is cut short ended because the process stops, and not because its client left.
    pub fn stop(&self) {
        self.outlet.is_stopping.store(true, Ordering::Release);
    }

    /// The counters.
    pub fn stats(&self) -> CaptureStats {
        self.counters.stats()
    }

    /// Memory that captured content holds now.
    pub fn memory_bytes(&self) -> usize {
        self.outlet.memory.used_bytes()
    }
}

/// Records the request of a call; `None`: it is left out.
pub fn request_of(capture: &Arc<CallCapture>) -> Option<SideCapture> {
    SideCapture::new(capture, ContentSide::Request)
}

/// Records the response of a call, of which this is the head, and what the sidecar changed; `None`: it is left out.
pub fn response_of(
    capture: &Arc<CallCapture>,
    status: StatusCode,
    headers: &HeaderMap,
    edited: Vec<SmolStr>,
) -> Option<SideCapture> {
    capture.response_head(head(headers, Some(status), edited));
    SideCapture::new(capture, ContentSide::Response)
}

fn head(headers: &HeaderMap, status: Option<StatusCode>, edited: Vec<SmolStr>) -> MessageHead {
    let text = |name: HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        (value.len() <= VALUE_BYTES_MAX).then(|| SmolStr::new(value))
    };
    MessageHead {
        content_type: text(CONTENT_TYPE),
        content_encoding: text(CONTENT_ENCODING),
        status: status.map(|status| status.as_u16()),
        edited,
    }
}
