//! Capturing, as one network thread does it: which calls, how they begin, and which must not be made without.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use smol_str::SmolStr;
use uuid::Uuid;

use super::refusal::Refusal;
use super::route::Route;
use crate::capture::{CallCapture, Capturer, OpenCaptures, Wanted};
use crate::tee::Begin;
use metering::usage::{Usage, UsageRecord};

/// Captures the calls of one network thread.
pub(super) struct Capturing {
    capturer: Capturer,
    open: Arc<OpenCaptures>,
}

impl Capturing {
    /// Must be called within the thread's runtime: starts the sweep of its calls.
    pub(super) fn start(capturer: Capturer) -> Capturing {
        let open = Arc::<OpenCaptures>::default();
        tokio::spawn(Arc::clone(&open).sweep());
        Capturing { capturer, open }
    }

    /// From now on calls that are broken off are broken off by us.
    pub(super) fn stop(&self) {
        self.capturer.stop();
    }

    /// Whether a call of this caller that began then is captured.
    pub(super) fn wanted(&self, id: Uuid, caller: &str, at: Timestamp) -> Wanted {
        self.capturer.wanted(id, caller, at)
    }

    /// Why such a call must not be made: the record that it must have cannot be kept.
    pub(super) fn refusal(&self, route: &Route, wanted: Wanted) -> Option<Refusal> {
        if route.handshake && self.capturer.refuses_sessions(wanted) {
            return Some(Refusal::SessionUncaptured);
        }
        self.capturer.refuses(wanted).then_some(Refusal::CaptureUnavailable)
    }

    /// Begins to capture a call that has an event, or tells why nothing of it is captured.
    pub(super) fn begin(
        &self,
        begin: &Begin,
        route: &Route,
        wanted: Wanted,
        headers: &HeaderMap,
        refused: bool,
    ) -> Arc<CallCapture> {
        if refused || route.handshake {
            return self.capturer.begin_off(begin.id, &begin.draft);
        }
        self.begin_as(begin.id, &begin.draft, usage_record(begin, route), wanted, headers)
    }

    /// Begins to capture a call that has no event.
    pub(super) fn begin_silent(
        &self,
        id: Uuid,
        draft: &Usage,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Arc<CallCapture> {
        self.begin_as(id, draft, UsageRecord::None, wanted, headers)
    }

    fn begin_as(
        &self,
        id: Uuid,
        draft: &Usage,
        usage: UsageRecord,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Arc<CallCapture> {
        let capture = self.capturer.begin(id, draft, usage, wanted, headers);
        self.open.add(&capture);
        capture
    }
}

/// The event that tells what a captured call used.
fn usage_record(begin: &Begin, route: &Route) -> UsageRecord {
    match &begin.slot {
        _ if route.surface.treatment.is_poll() => UsageRecord::Deferred,
        Some(_) => UsageRecord::Event,
        None => UsageRecord::Summary,
    }
}

/// The edits that were made on the way, for whoever reads the content.
pub(super) fn edits(injected: bool, hides: bool) -> Vec<SmolStr> {
    let asked = injected.then_some("request.stream_options.include_usage");
    let hidden = hides.then_some("response.usage");
    asked.into_iter().chain(hidden).map(SmolStr::new_static).collect()
}
