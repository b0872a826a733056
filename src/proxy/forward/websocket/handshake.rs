//! A GET that asks to become a WebSocket. Its response says which it was: switched, it is
//! a session with an event of its own; refused, a call that cost nothing; answered with success, a GET
//! like any other, which makes nothing and has no event.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::tee::{Accounts, Begin, Call, CallGuard, RunningCalls};
use metering::api::SESSION;
use metering::meter::Treatment;

/// A handshake without a response yet. Its place in the ledger is reserved. Dropped, it is a call whose
/// client has gone.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// `None`: it has its response.
    begin: Option<Box<Begin>>,
    accounts: Arc<Accounts>,
    live: Arc<RunningCalls>,
}

impl Handshake {
    pub(crate) fn new(begin: Begin, accounts: Arc<Accounts>, live: Arc<RunningCalls>) -> Handshake {
        Handshake { begin: Some(Box::new(begin)), accounts, live }
    }

    /// The upstream has switched: a session begins.
    pub(crate) fn switched(mut self) -> Option<CallGuard> {
        if let Some(begin) = &mut self.begin {
            begin.draft.target.api = SESSION.api;
            begin.draft.target.operation = SESSION.api.operation().map(SmolStr::new_static);
        }
        self.call(Treatment::Unmetered)
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
