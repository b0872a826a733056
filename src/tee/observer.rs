//! Tells the rest of the program of calls, for log lines and metrics.

use std::time::Duration;

use metering::usage::{Deferral, Settled};

use super::drift::Compared;
use crate::ledger::Bill;

/// Hears of every call that has settled. Called once a call, from a network, counting or settling thread, so it
/// must not wait.
pub trait Observer: Send + Sync {
    /// The call is recorded: its event is on its way into the ledger.
    fn settled(&self, settled: &Settled);
    /// The call had no place in the ledger and must be added to the sums.
    fn summed(&self, settled: &Settled);
    /// A look at work that another call began has shown its bill. The ledger finds out whether that is news.
    fn bill(&self, bill: Bill) {
        let _ = bill;
    }
    /// The call that is about to be summed has begun or billed such work.
    fn deferral(&self, settled: &Settled, deferral: &Deferral) {
        let _ = (settled, deferral);
    }
    /// The service's number was held against ours: once for each side of a call that allows it.
    fn compared(&self, compared: &Compared);
    /// Accounting held a request or a frame for so long.
    fn overhead(&self, phase: OverheadPhase, time: Duration) {
        let _ = (phase, time);
    }
}

/// The step of a call that accounting held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverheadPhase {
    /// A request, from its head's arrival until it may be sent: routing, identity, a place in the ledger.
    Request,
    /// A frame of a response, while it was looked at.
    Chunk,
}

impl OverheadPhase {
    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            OverheadPhase::Request => "request",
            OverheadPhase::Chunk => "chunk",
        }
    }
}
