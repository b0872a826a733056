//! The capturing of one call, as its network thread sees it: a recorder for each side, and what its event says of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use metering::usage::{Capture, CaptureState, ContentSide, Outcome};

use super::captured_call::{CapturedCall, MessageHead};
use super::counters::CaptureCounters;
use super::side_recorder::{BlockOutlet, SideRecorder};
use crate::tee::CaptureReport;

/// One call.
pub struct CallCapture {
    call: Arc<CapturedCall>,
    outlet: Arc<BlockOutlet>,
    counters: Arc<CaptureCounters>,
    request: RecordedSide,
    response: RecordedSide,
    /// True once the client has made no progress for too long.
    client_idle: OnceLock<Arc<AtomicBool>>,
    /// The account that was given of the call, once it was over.
    told: Mutex<Option<Capture>>,
}

/// A side that is recorded, or why it is not.
enum RecordedSide {
    Recorded(Arc<Mutex<SideRecorder>>),
    LeftOut(CaptureState),
}

impl RecordedSide {
    fn new(side: ContentSide, left_out: Option<CaptureState>) -> RecordedSide {
        match left_out {
            Some(state) => RecordedSide::LeftOut(state),
            None => RecordedSide::Recorded(Arc::new(Mutex::new(SideRecorder::new(side)))),
        }
    }

    fn recorder(&self) -> Option<MutexGuard<'_, SideRecorder>> {
        match self {
            RecordedSide::Recorded(recorder) => Some(lock(recorder)),
            RecordedSide::LeftOut(_) => None,
        }
    }

    fn state(&self, of: impl FnOnce(&SideRecorder) -> CaptureState) -> CaptureState {
        match self {
            RecordedSide::LeftOut(state) => *state,
            RecordedSide::Recorded(recorder) => of(&lock(recorder)),
        }
    }
}

/// A lock that is only ever held for a look, and never by the capture thread.
fn lock(recorder: &Mutex<SideRecorder>) -> MutexGuard<'_, SideRecorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CallCapture {
    /// `left_out`: why request and response are not recorded, if they are not.
    pub(super) fn new(
        call: CapturedCall,
        left_out: [Option<CaptureState>; 2],
        outlet: Arc<BlockOutlet>,
        counters: Arc<CaptureCounters>,
    ) -> Arc<CallCapture> {
        let [request, response] = left_out;
        Arc::new(CallCapture {
            call: Arc::new(call),
            outlet,
            counters,
            request: RecordedSide::new(ContentSide::Request, request),
            response: RecordedSide::new(ContentSide::Response, response),
            client_idle: OnceLock::new(),
            told: Mutex::new(None),
        })
    }

    /// Something of it is recorded.
    pub(super) fn records(&self) -> bool {
        [&self.request, &self.response].iter().any(|side| matches!(side, RecordedSide::Recorded(_)))
    }

    /// Takes in the head of the response; to be called before its first byte.
    pub(super) fn response_head(&self, head: MessageHead) {
        let _ = self.call.response.head.set(head);
    }

    /// Has a side end as timed out, and not as left by its client, once `idle` is true.
    pub fn watch_client(&self, idle: &Arc<AtomicBool>) {
        let _ = self.client_idle.set(Arc::clone(idle));
    }

    /// How a side ends that is cut short now.
    fn interrupted(&self) -> Outcome {
        let is_idle = self.client_idle.get().is_some_and(|idle| idle.load(Ordering::Relaxed));
        match self.outlet.interrupted() {
            Outcome::ClientDisconnect if is_idle => Outcome::Timeout,
            outcome => outcome,
        }
    }

    /// A second has gone by.
    pub(super) fn sweep(&self) {
        for mut recorder in [&self.request, &self.response].into_iter().filter_map(RecordedSide::recorder) {
            recorder.sweep(&self.call, &self.outlet);
        }
    }

    fn side(&self, side: ContentSide) -> &RecordedSide {
        match side {
            ContentSide::Request => &self.request,
            ContentSide::Response => &self.response,
        }
    }

    /// Closes both sides, and counts the call once.
    fn close(&self) -> Capture {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = *told {
            return told;
        }
        let (mut parts, mut bytes) = (0, 0);
        let mut state_of = |side: ContentSide| {
            if let Some(mut recorder) = self.side(side).recorder() {
                // The call is over before this side is: that is how it ends.
                recorder.close(&self.call, &self.outlet, self.interrupted());
                (parts, bytes) = (parts + recorder.parts(), bytes + recorder.kept_bytes());
            }
            let state = self.side(side).state(SideRecorder::state);
            self.counters.count_call(side, state);
            state
        };
        let (request, response) = (state_of(ContentSide::Request), state_of(ContentSide::Response));
        *told.insert(Capture { request, response, parts: Some(parts), bytes: Some(bytes) })
    }
}

impl CaptureReport for CallCapture {
    fn begun(&self) -> Capture {
        let state = |side: &RecordedSide| side.state(|_| CaptureState::Partial);
        let (request, response) = (state(&self.request), state(&self.response));
        // Where nothing is recorded all is known from the beginning.
        let known = (!self.records()).then_some(0);
        Capture { request, response, parts: known, bytes: known }
    }

    fn over(&self) -> Capture {
        self.close()
    }
}

impl Drop for CallCapture {
    /// Calls that have no event are over when nobody has them any more.
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for CallCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallCapture").field("id", &self.call.id).finish_non_exhaustive()
    }
}

/// Records one side of a call. Dropped before it is told of an end, it leaves the side open: then the end of the call
/// is its end.
#[derive(Debug)]
pub struct SideCapture {
    capture: Arc<CallCapture>,
    /// That of the side, where one step leads to it.
    recorder: Arc<Mutex<SideRecorder>>,
}

impl SideCapture {
    /// Records a side; `None`: it is left out.
    pub(super) fn new(capture: &Arc<CallCapture>, side: ContentSide) -> Option<SideCapture> {
        match capture.side(side) {
            RecordedSide::Recorded(recorder) => {
                Some(SideCapture { capture: Arc::clone(capture), recorder: Arc::clone(recorder) })
            }
            RecordedSide::LeftOut(_) => None,
        }
    }

    /// The next bytes that have passed. Never waits.
    pub fn push(&self, bytes: &Bytes) {
        let mut recorder = lock(&self.recorder);
        if !recorder.try_append(bytes) {
            recorder.push(&self.capture.call, &self.capture.outlet, bytes);
        }
    }

    /// The side has come to its end in this way. The first end counts. Never waits.
    pub fn finish(&self, outcome: Outcome) {
        lock(&self.recorder).finish(&self.capture.call, &self.capture.outlet, outcome);
    }

    /// The side is cut short: by its client, for want of progress of its client, or by the end of the process. The first
    /// end counts. Never waits.
    pub fn interrupt(&self) {
        self.finish(self.capture.interrupted());
    }

    /// It has ended.
    pub fn is_finished(&self) -> bool {
        lock(&self.recorder).is_closed()
    }
}
