//! The parts of the program that stand outside of the data path and that it uses.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::capture::Capturer;
use crate::ledger::Ledger;
use crate::tee::Accounts;
use metering::caller::{Peer, Resolved};

/// Says who pays for a request, from its fields as they arrived, the hop that it came from and when it
/// began. Must not wait.
pub type CallerResolver = Arc<dyn Fn(&HeaderMap, &Peer, Timestamp) -> Resolved + Send + Sync>;

/// The parts of the program that the data path reports to and asks.
#[derive(Clone)]
pub struct Shared {
    /// The accounts that calls settle in.
    pub accounts: Arc<Accounts>,
    /// The ledger that records them.
    pub ledger: Ledger,
    /// Captures the content of calls; `None`: none is captured.
    pub capturer: Option<Capturer>,
    /// Says who pays.
    pub resolver: CallerResolver,
    /// The boot, for `reporter.instance`.
    pub boot: SmolStr,
}
