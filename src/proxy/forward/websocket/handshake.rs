//! A GET that asks to become a WebSocket. Its response says which it was: switched, it is
//! a session with an event of its own; refused, a call that cost nothing; answered with success, a GET
//! like any other, which makes nothing and has no event.

use std::sync::Arc;

use http::HeaderMap;
use smol_str::SmolStr;

use super::tunnel;
use crate::ledger::Ledger;
use crate::tee::{Accounts, Begin, Call, CallGuard, ObservedSession, RunningCalls, SessionBegin};
use metering::api::OTHER_SESSION;
use metering::meter::{Treatment, served_fields};

/// A handshake without a response yet. Its place in the ledger is reserved. Dropped, it is a call whose
/// client has gone.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// `None`: it has its response.
    begin: Option<Box<Begin>>,
    /// The session, if there is one, looks on at that of another connection.
    is_observer: bool,
    accounts: Arc<Accounts>,
    live: Arc<RunningCalls>,
}

impl Handshake {
    pub(crate) fn new(
        begin: Begin,
        is_observer: bool,
        accounts: Arc<Accounts>,
        live: Arc<RunningCalls>,
    ) -> Handshake {
        Handshake { begin: Some(Box::new(begin)), is_observer, accounts, live }
    }

    /// The upstream has switched, with these fields as they came: a session begins. Its responses take their places
    /// from the ledger.
    pub(crate) fn switched(mut self, headers: &HeaderMap, ledger: &Ledger) -> Option<ObservedSession> {
        let mut begin = *self.begin.take()?;
        let draft = &mut begin.draft;
        if begin.treatment != Treatment::PerResponse {
            begin.treatment = OTHER_SESSION.treatment;
            draft.target.api = OTHER_SESSION.api;
            draft.target.operation = OTHER_SESSION.api.operation().map(SmolStr::new_static);
        }
        let (client, server) = tunnel::frames(headers);
        let begun = SessionBegin {
            begin,
            headers: served_fields(headers),
            ledger: ledger.clone(),
            is_observer: self.is_observer,
            client,
            server,
        };
        Some(ObservedSession::begin(begun, Arc::clone(&self.accounts), Arc::clone(&self.live)))
    }

    /// There is no session: nothing was asked that could be billed.
    pub(crate) fn refused(mut self) -> Option<CallGuard> {
        self.call(Treatment::Free)
    }

    /// The upstream has responded as to any GET. Its place in the ledger is given back.
    pub(crate) fn answered(mut self) {
        self.begin = None;
    }

    fn call(&mut self, treatment: Treatment) -> Option<CallGuard> {
        let begin = Begin { treatment, ..*self.begin.take()? };
        Some(CallGuard::new(Call::begin(begin, Arc::clone(&self.accounts), Arc::clone(&self.live))))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        drop(self.call(Treatment::Free));
    }
}

/// The record of a request in the ledger.
#[derive(Debug)]
pub(crate) enum CallRecord {
    /// It makes no event.
    None,
    /// Its response says whether it makes one.
    Handshake(Handshake),
    Call(CallGuard),
}

impl CallRecord {
    /// The call, if the request is one already or becomes one by being refused.
    pub(crate) fn call(self) -> Option<CallGuard> {
        match self {
            CallRecord::None => None,
            CallRecord::Handshake(handshake) => handshake.refused(),
            CallRecord::Call(call) => Some(call),
        }
    }
}
