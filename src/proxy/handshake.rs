//! A GET that asks to become a WebSocket. What it was is known once it has been answered: switched, it is
//! a session with an event of its own; refused, a call that cost nothing; answered with success, a GET
//! like any other, which makes nothing and has no event.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::tee::{Accounts, Begin, Call, Conclude, Live};
use metering::meter::Treatment;
use metering::usage::Api;

/// A handshake without an answer yet. Its place in the ledger is reserved. Dropped, it is a call whose
/// caller has left.
#[derive(Debug)]
pub(super) struct Handshake {
    /// `None`: it has been answered.
    begin: Option<Box<Begin>>,
    accounts: Arc<Accounts>,
    live: Arc<Live>,
}

impl Handshake {
    pub(super) fn new(begin: Begin, accounts: Arc<Accounts>, live: Arc<Live>) -> Handshake {
        Handshake { begin: Some(Box::new(begin)), accounts, live }
    }

    /// The service has switched: a session begins.
    pub(super) fn switched(mut self) -> Option<Conclude> {
        if let Some(begin) = &mut self.begin {
            begin.draft.target.api = Api::Websocket;
            begin.draft.target.operation = Api::Websocket.operation().map(SmolStr::new_static);
        }
        self.call(Treatment::Unmetered)
    }

    /// There is no session: nothing was asked that could be billed.
    pub(super) fn refused(mut self) -> Option<Conclude> {
        self.call(Treatment::Free)
    }

    /// It was no handshake to the service: a GET was answered. Its place in the ledger is given back.
    pub(super) fn answered(mut self) {
        self.begin = None;
    }

    fn call(&mut self, treatment: Treatment) -> Option<Conclude> {
        let begin = Begin { treatment, ..*self.begin.take()? };
        Some(Conclude::new(Call::begin(begin, Arc::clone(&self.accounts), Arc::clone(&self.live))))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        drop(self.call(Treatment::Free));
    }
}

/// What a request is to the ledger.
#[derive(Debug)]
pub(super) enum Account {
    /// It makes no event.
    Nothing,
    /// That is seen when it is answered.
    Handshake(Handshake),
    Call(Conclude),
}

impl Account {
    /// The call, if it is one already or is none but by being refused.
    pub(super) fn call(self) -> Option<Conclude> {
        match self {
            Account::Nothing => None,
            Account::Handshake(handshake) => handshake.refused(),
            Account::Call(call) => Some(call),
        }
    }
}
