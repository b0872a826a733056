//! The first event of a ledger that is left.

use jiff::Timestamp;

/// Its boot, its sequence, and its time; boots are UUIDv7 and so in the order of their starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FirstLeft {
    pub(super) boot: String,
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
}
