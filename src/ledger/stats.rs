//! The ledger's counters.

use jiff::Timestamp;

/// The ledger's counters, all since boot, taken at one moment.
///
/// `accepted = settled + open + summed` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Calls that began, or that ended without ever having a slot.
    pub accepted: u64,
    /// Of these: calls whose event is stored.
    pub settled: u64,
    /// Of these: calls that run, and calls that ended less than a commit ago.
    pub open: u64,
    /// Of these: calls that are only in a sum.
    pub summed: u64,
    /// Events stored, of every type.
    pub stored: u64,
    /// Events delivered, or stored where nothing is published.
    pub delivered: u64,
    /// Events that the broker refused for good.
    pub refused: u64,
    /// Events stored and not durable yet: they survive the process, and a loss of power takes them.
    pub unsynced: u64,
    /// Events stored and neither delivered nor refused, those of earlier boots included.
    pub undelivered: u64,
    /// When the first of these was stored, as of a second ago; `None` if there is none.
    pub oldest_undelivered: Option<Timestamp>,
    /// Bytes of the database and its WAL.
    pub bytes: u64,
    /// Bytes that the directory may take.
    pub bytes_max: u64,
    /// Events that were stored and that the disk then lost: they will never be delivered.
    pub lost: u64,
    /// Damaged databases that lay beside this one when it was opened.
    pub moved_aside: u64,
    /// A call that begins now would be summed: nothing can be stored, or no place is free.
    pub degraded: bool,
}
