//! The only door through which usage becomes durable.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::usage::{Progress, Settled, Usage};

/// How a ledger behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made (0700) if absent.
    pub dir: PathBuf,
    /// Calls that may be open at once; beyond it [`Ledger::reserve`] gives `None`.
    pub slots: usize,
    /// How long delivered events stay.
    pub keep: Duration,
    /// How often a control event is written.
    pub control_interval: Duration,
    /// Somebody publishes; else events count as delivered when stored.
    pub publishes: bool,
}

/// A ledger that this process owns. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<()>,
}

/// A reserved place in the ledger's queue: room for one call's whole life.
#[derive(Debug)]
pub struct Slot {
    ledger: Ledger,
}

/// A call that the ledger knows to be open.
#[derive(Debug)]
pub struct OpenCall {
    slot: Slot,
    id: Uuid,
}

impl Ledger {
    /// Reserves a place for one call, or `None` if all are taken. Never waits.
    pub fn reserve(&self) -> Option<Slot> {
        Some(Slot { ledger: self.clone() })
    }
    /// Stores what is known of open calls, all in one transaction. Never waits; the batch is
    /// skipped if the queue is full, the next one makes up for it.
    pub fn checkpoint(&self, batch: Vec<(Uuid, Progress)>) {
        let _ = (batch, &self.inner);
    }
}

impl Slot {
    /// Tells the ledger that the call is open. Never waits.
    pub fn open(self, id: Uuid, draft: &Usage) -> OpenCall {
        let _ = (draft, &self.ledger);
        OpenCall { slot: self, id }
    }
}

impl OpenCall {
    /// The call's id, which becomes its event's.
    pub fn id(&self) -> Uuid {
        self.id
    }
    /// Stores the call's event in place of its open entry. Never waits, cannot fail.
    pub fn settle(self, settled: Settled) {
        let _ = (settled, self.slot);
    }
}
