//! Counts the requests that the service has seen: it makes one bill for each.

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls, responses of sessions, and bills that were first looked at.
#[derive(Debug, Default)]
pub(super) struct Calls {
    begun: AtomicU64,
    identified: AtomicU64,
}

impl Calls {
    /// Counts one, and returns its number. `is_identified`: it came with its caller's name.
    pub(super) fn count(&self, is_identified: bool) -> u64 {
        self.identified.fetch_add(is_identified.into(), Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    pub(super) fn identified(&self) -> u64 {
        self.identified.load(Ordering::SeqCst)
    }
}
