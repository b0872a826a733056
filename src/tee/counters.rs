//! Numbers that the data path counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::streams::StreamsByDeployment;

/// Numbers that the data path counts, since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls begun, whether or not they had a place in the ledger.
    pub calls_accepted: AtomicU64,
    /// Calls whose event went to the ledger.
    pub calls_settled: AtomicU64,
    /// Calls that had no place in the ledger.
    pub calls_summed: AtomicU64,
    /// Calls refused because the ledger had no place (not accepted, no event).
    pub calls_refused: AtomicU64,
    /// Calls whose response could not be counted, and was read for what it reports only.
    pub meter_overload: AtomicU64,
    /// Calls whose prompt was not kept for counting.
    pub prompts_not_kept: AtomicU64,
    /// Panics of a meter or counter that were caught; the call's numbers are unknown.
    pub meter_panics: AtomicU64,
    /// Responses that are read on now although their clients have left.
    pub drains_running: AtomicUsize,
    /// Those that came to their end.
    pub drains_finished: AtomicU64,
    /// Those that a bound ended, or that one kept from beginning.
    pub drains_cut: AtomicU64,
    /// Requests that were sent again, since the service refused to be asked for usage.
    pub usage_refused: AtomicU64,
    /// Responses whose head has come and whose body has not ended.
    pub streams: StreamsByDeployment,
    /// Bytes of request bodies of the calls that ended.
    pub request_bytes: AtomicU64,
    /// Bytes of their responses' bodies, as they came.
    pub response_bytes: AtomicU64,
}

impl Counters {
    /// Calls that run now.
    pub fn calls_open(&self) -> u64 {
        let done = self.calls_settled.load(Ordering::Acquire) + self.calls_summed.load(Ordering::Acquire);
        self.calls_accepted.load(Ordering::Acquire).saturating_sub(done)
    }
}
