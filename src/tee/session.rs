//! A WebSocket session: its own call, and one for each response in it, which has a place in the ledger of its own.
//!
//! Bytes are looked at when they have been passed on. The rest of a turn is done in the next one, before more
//! is read from that side.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use metering::api::Treatment;
use metering::frames::Frames;
use metering::meter::{Ending, FramesRead, Representation, Rules, SessionNames};
use metering::session::{BegunResponse, LaneNumber, ResponseDrafts, Session, SessionSide, SessionSink};

use uuid::Uuid;

use super::accounts::Accounts;
use super::call::{Begin, Call, CallGuard};
use super::capture_report::CaptureReport;
use super::response_ids::{ResponseClaim, ResponseKey};
use super::running_calls::RunningCalls;
use super::turn::Turn;
use crate::ledger::Ledger;

/// Bytes of messages, without compression, that are looked at before the task yields to others: at most a millisecond
/// of the worst (short names and numbers). A message that is compressed a thousandfold takes many turns.
const MESSAGE_BYTES_PER_TURN: usize = 64 * 1024;

/// Bytes that may be looked at when the session is over: those that came last, not a bomb's.
const LAST_BYTES_MAX: usize = 1 << 20;

/// The handshake of a session, and what both sides agreed upon.
#[derive(Debug)]
pub struct SessionBegin {
    /// Its own call; each of its responses begins like it.
    pub begin: Begin,
    /// The fields of the response that switched protocols that name what served it.
    pub headers: HeaderMap,
    /// The places of its responses are taken from here.
    pub ledger: Ledger,
    /// It looks on at another connection's session, and is told of the same responses.
    pub is_observer: bool,
    /// The frames that the client sends.
    pub client: Frames,
    /// The frames that the server sends.
    pub server: Frames,
}

/// A session that runs. Dropped, it ends as interrupted.
#[derive(Debug)]
pub struct ObservedSession {
    session: Session,
    lanes: OpenResponses,
    message_bytes: usize,
    began: Instant,
}

/// The calls of the responses that are open, and what each new one begins with.
#[derive(Debug)]
struct OpenResponses {
    open: Vec<OpenResponse>,
    /// The session's own call, which ends after all of its responses.
    own: Arc<OwnCall>,
    drafts: ResponseDrafts,
    rules: Rules,
    began: Instant,
    capture: Option<Arc<dyn CaptureReport>>,
    ledger: Ledger,
    is_observer: bool,
    accounts: Arc<Accounts>,
    running_calls: Arc<RunningCalls>,
    turn: Turn,
    /// The last turn was too short for what this response was shown.
    unread: Option<LaneNumber>,
}

#[derive(Debug)]
struct OpenResponse {
    lane: LaneNumber,
    call: CallGuard,
    claim: Option<ResponseClaim>,
}

/// The call of the session itself. It ends when nobody holds it any more: each response does until it has settled.
#[derive(Debug)]
pub(super) struct OwnCall {
    call: Option<CallGuard>,
    ending: Mutex<Option<Ending>>,
}

impl Drop for OwnCall {
    fn drop(&mut self) {
        let ending = self.ending.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(call), Some(ending)) = (self.call.take(), ending) {
            call.end(ending);
        }
    }
}

impl ObservedSession {
    /// Begins a session: its own call begins with it.
    pub fn begin(
        begun: SessionBegin,
        accounts: Arc<Accounts>,
        running_calls: Arc<RunningCalls>,
    ) -> ObservedSession {
        let SessionBegin { mut begin, headers, ledger, is_observer, client, server } = begun;
        let (draft, rules, began) = (begin.draft.clone(), begin.rules, begin.began);
        let capture = begin.capture.clone();
        let api = draft.target.api;
        let kind = api.session_kind().filter(|_| begin.treatment == Treatment::PerResponse);
        if kind.is_some() {
            begin.draft.bill_per_response(); // also if no checkpoint of it is ever made
        }
        let call = Call::begin(begin, Arc::clone(&accounts), Arc::clone(&running_calls));
        let own = Arc::new(OwnCall { call: Some(CallGuard::new(call)), ending: Mutex::new(None) });
        let lanes = OpenResponses {
            open: Vec::new(),
            own,
            drafts: ResponseDrafts::new(draft, headers),
            rules,
            began,
            capture,
            ledger,
            is_observer,
            accounts,
            running_calls,
            turn: Turn::new(),
            unread: None,
        };
        let session = Session::new(kind, client, server);
        ObservedSession { session, lanes, message_bytes: MESSAGE_BYTES_PER_TURN, began }
    }

    /// The head of the response that switched protocols.
    pub fn response_head(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(call) = &self.lanes.own.call {
            call.call().response_head(status, headers);
        }
    }

    /// The frames of a side.
    pub fn frames(&self, side: SessionSide) -> &Frames {
        match side {
            SessionSide::Client => self.session.client(),
            SessionSide::Server => self.session.server(),
        }
    }

    /// A response is open.
    pub fn is_responding(&self) -> bool {
        self.session.is_responding()
    }

    /// The task was polled again: there is new time.
    pub fn begin_turn(&mut self) {
        (self.message_bytes, self.lanes.turn) = (MESSAGE_BYTES_PER_TURN, Turn::new());
        self.lanes.read_on();
    }

    /// Other tasks come first: the next turn is to be begun as soon as they are served.
    pub fn is_turn_over(&self) -> bool {
        self.message_bytes == 0 || self.lanes.turn.is_over() || self.lanes.unread.is_some()
    }

    /// The next bytes of a side. Returns how many were looked at: fewer if the turn is over.
    pub fn observe(&mut self, side: SessionSide, bytes: &[u8]) -> usize {
        if bytes.is_empty() || self.is_turn_over() {
            return 0;
        }
        let mut budget = self.message_bytes;
        let since = self.began.elapsed();
        let taken = match side {
            SessionSide::Client => self.session.from_client(bytes, &mut budget, since),
            SessionSide::Server => self.session.from_server(bytes, &mut budget, since, &mut self.lanes),
        };
        // The rest is owed, even where the budget was not spent to the last byte.
        self.message_bytes = if taken < bytes.len() { 0 } else { budget };
        taken
    }

    /// Looks at the last bytes of both sides, and ends the session: its open responses first, then its own call.
    /// `None`: it was interrupted.
    pub fn end(mut self, last: [(SessionSide, &[u8]); 2], judge: impl FnOnce(&Self) -> Option<Ending>) {
        for (side, bytes) in last {
            (self.message_bytes, self.lanes.turn) = (LAST_BYTES_MAX, Turn::new());
            self.lanes.unread = None;
            self.observe(side, bytes);
        }
        let ending = judge(&self);
        self.lanes.end_all(ending, self.session.frames_read());
    }
}

impl OpenResponses {
    /// Goes on with what the last turn was too short for.
    fn read_on(&mut self) {
        let Some(lane) = self.unread.take() else { return };
        if let Some(open) = self.open.iter().find(|open| open.lane == lane)
            && open.call.call().read_on(&mut self.turn)
        {
            self.unread = Some(lane);
        }
    }

    fn call(&self, lane: LaneNumber) -> Option<&Arc<Call>> {
        self.open.iter().find(|open| open.lane == lane).map(|open| open.call.call())
    }

    /// Claims a response that another connection may be told of, too. `None`: that one has it.
    fn claim(&self, response: &BegunResponse) -> Option<Option<ResponseClaim>> {
        let session = self.drafts.session();
        // Only at a session of these APIs another connection can look on.
        let id = response.id.as_ref().filter(|_| session.target.api.is_of_frames());
        let Some(id) = id else { return Some(None) };
        let key = ResponseKey::new(&session.target.resource, &session.caller.id, id);
        self.accounts.response_ids.claim(key, self.is_observer).map(Some)
    }

    /// Ends what is open, and the session's own call as soon as all has settled.
    fn end_all(mut self, ending: Option<Ending>, frames: FramesRead) {
        let ending = ending.unwrap_or_else(|| self.accounts.interrupted());
        for open in std::mem::take(&mut self.open) {
            open.call.call().frames_read(frames);
            open.call.end(ending);
        }
        if let Some(call) = &self.own.call {
            call.call().frames_read(frames);
        }
        *self.own.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(ending);
    }
}

impl SessionSink for OpenResponses {
    fn named(&mut self, names: &SessionNames) {
        self.drafts.named(names);
        if let Some(call) = &self.own.call {
            call.call().named(names);
        }
    }

    fn begin(&mut self, lane: LaneNumber, response: BegunResponse) -> bool {
        let Some(claim) = self.claim(&response) else { return false };
        let begin = Begin {
            id: Uuid::now_v7(),
            draft: self.drafts.draft(&response),
            rules: self.rules,
            slot: self.ledger.reserve(),
            keep_prompt: false,
            treatment: self.drafts.treatment(),
            representation: Representation::default(),
            began: self.began + response.since,
            capture: self.capture.clone(),
        };
        let call = Call::begin(begin, Arc::clone(&self.accounts), Arc::clone(&self.running_calls));
        call.followed_by(self.own.clone());
        let headers = self.drafts.headers(&response);
        call.asked(response.facts, response.request_bytes);
        call.response_head(response.status, &headers);
        self.open.push(OpenResponse { lane, call: CallGuard::new(call), claim });
        true
    }

    fn show(&mut self, lane: LaneNumber, bytes: Bytes) {
        let Some(call) = self.call(lane).map(Arc::clone) else { return };
        if call.response_bytes(&bytes, &mut self.turn) {
            self.unread = Some(lane);
        }
    }

    fn left_out(&mut self, lane: LaneNumber) {
        if let Some(call) = self.call(lane) {
            call.left_out();
        }
    }

    fn end(&mut self, lane: LaneNumber) {
        let Some(at) = self.open.iter().position(|open| open.lane == lane) else { return };
        let open = self.open.swap_remove(at);
        if let Some(claim) = open.claim {
            claim.settle();
        }
        open.call.end(Ending::Eof);
    }
}
