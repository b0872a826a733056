//! How connections are told, while they are open, to end behind their present response.
//!
//! All of them are told when the port closes, and those whose certificate new roots do not cover when roots change. One
//! that waits for a request is closed at once; a stream goes on to its end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::proxy::tls::chains::ClientChain;
use crate::proxy::tls::listen::ListenTls;

/// The last message to the connections.
#[derive(Clone, Copy, Debug, Default)]
struct CloseMessage {
    all: bool,
    /// How often the roots have changed.
    roots: u64,
}

/// Tells the connections of one thread.
#[derive(Debug)]
pub(super) struct CloseNotifier {
    message: watch::Sender<CloseMessage>,
    /// Changes of the roots; `None`: no certificate is asked for.
    roots: Option<watch::Receiver<u64>>,
}

impl CloseNotifier {
    pub(super) fn new(tls: Option<&ListenTls>) -> CloseNotifier {
        CloseNotifier { message: watch::Sender::default(), roots: tls.map(ListenTls::roots) }
    }

    /// The notice for a new connection.
    pub(super) fn subscribe(&self) -> CloseNotice {
        CloseNotice { message: self.message.subscribe(), chain: None }
    }

    /// Tells all of them.
    pub(super) fn close_all(&self) {
        self.message.send_modify(|message| message.all = true);
    }

    /// Waits until the roots change, and tells the connections to look whether they are still covered. Never ends
    /// where there are none.
    pub(super) async fn pass_on(&mut self) {
        let changed = match &mut self.roots {
            Some(roots) => roots.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            return std::future::pending().await;
        }
        self.message.send_modify(|message| message.roots += 1);
    }
}

/// Tells one connection when to end.
#[derive(Debug)]
pub(super) struct CloseNotice {
    message: watch::Receiver<CloseMessage>,
    chain: Option<Arc<ClientChain>>,
}

impl CloseNotice {
    /// Takes note of the certificate that the client has shown.
    pub(super) fn set_chain(&mut self, chain: Option<Arc<ClientChain>>) {
        self.chain = chain;
    }

    /// The connection is to end.
    pub(super) fn is_due(&self) -> bool {
        self.message.borrow().all || is_gone(self.chain.as_deref())
    }

    /// Waits until the connection is to end.
    pub(super) async fn wait(&mut self) {
        let chain = self.chain.as_deref();
        let _ = self.message.wait_for(|message| message.all || is_gone(chain)).await;
    }

    /// Says cheaply whether there is something to look at.
    pub(super) fn changes(&self) -> CloseChanges {
        CloseChanges(self.message.clone())
    }
}

fn is_gone(chain: Option<&ClientChain>) -> bool {
    chain.is_some_and(ClientChain::is_gone)
}

/// Says whether a connection was told something, with one load and no lock.
#[derive(Debug)]
pub(super) struct CloseChanges(watch::Receiver<CloseMessage>);

impl CloseChanges {
    /// Something was told since the last time that this was called.
    pub(super) fn any(&mut self) -> bool {
        let changed = self.0.has_changed().unwrap_or(true);
        if changed {
            self.0.mark_unchanged();
        }
        changed
    }
}
