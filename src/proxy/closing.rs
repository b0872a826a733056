//! What connections are told while they are open: to end behind their present answer.
//!
//! All of them when the port closes, and those whose certificate new roots do not cover when roots change. One that
//! waits for a request is closed at once; a stream goes on to its end.

use std::sync::Arc;

use tokio::sync::watch;

use super::tls::{CallerTls, Chain};

/// What was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    all: bool,
    /// How often the roots have changed.
    roots: u64,
}

/// Tells the connections of one thread.
#[derive(Debug)]
pub(super) struct Closer {
    told: watch::Sender<Told>,
    /// News of the roots; `None`: no certificate is asked for.
    roots: Option<watch::Receiver<u64>>,
}

impl Closer {
    pub(super) fn new(tls: Option<&CallerTls>) -> Closer {
        Closer { told: watch::Sender::default(), roots: tls.map(CallerTls::roots) }
    }

    /// What a new connection listens to.
    pub(super) fn closing(&self) -> Closing {
        Closing { told: self.told.subscribe(), chain: None }
    }

    /// Tells all of them.
    pub(super) fn close(&self) {
        self.told.send_modify(|told| told.all = true);
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
        self.told.send_modify(|told| told.roots += 1);
    }
}

/// What one connection is told.
#[derive(Debug)]
pub(super) struct Closing {
    told: watch::Receiver<Told>,
    chain: Option<Arc<Chain>>,
}

impl Closing {
    /// The certificate that the caller has shown.
    pub(super) fn shown(&mut self, chain: Option<Arc<Chain>>) {
        self.chain = chain;
    }

    /// It is to end.
    pub(super) fn is_told(&self) -> bool {
        self.told.borrow().all || self.is_gone()
    }

    /// Waits until it is to end.
    pub(super) async fn wait(&mut self) {
        let chain = self.chain.as_deref();
        let _ = self.told.wait_for(|told| told.all || is_gone(chain)).await;
    }

    /// Says cheaply whether there is something to look at.
    pub(super) fn news(&self) -> News {
        News(self.told.clone())
    }

    fn is_gone(&self) -> bool {
        is_gone(self.chain.as_deref())
    }
}

fn is_gone(chain: Option<&Chain>) -> bool {
    chain.is_some_and(Chain::is_gone)
}

/// Whether a connection was told something, with one load and no lock.
#[derive(Debug)]
pub(super) struct News(watch::Receiver<Told>);

impl News {
    /// Something was told since this was last asked.
    pub(super) fn has_come(&mut self) -> bool {
        let come = self.0.has_changed().unwrap_or(true);
        if come {
            self.0.mark_unchanged();
        }
        come
    }
}
