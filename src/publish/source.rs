//! The outbox that a publisher takes its events from: it survives the process.

use std::time::Duration;

use crate::ledger::{EventRow, ReadError};

/// An outbox of events in order. Each has a position that grows; what is delivered is a prefix of them, up to the mark.
pub trait EventSource: Send + 'static {
    /// Its name in the log.
    fn name(&self) -> &'static str;

    /// Events after a position, in order: so many rows and bytes at most, but one row if there is one.
    ///
    /// # Errors
    /// If the outbox cannot be read now.
    fn after(&mut self, position: u64, rows_max: usize, bytes_max: usize)
    -> Result<Vec<EventRow>, ReadError>;

    /// Lets go of what would keep the writer from working; called in each round.
    fn let_go_if_called_off(&mut self) {}

    /// Position of the last event that is stored.
    fn stored(&self) -> u64;

    /// Position of the last event that is durable and may be sent. Blocks until it is beyond `after`, the outbox has
    /// ended, or `timeout` is over.
    fn wait_synced(&self, after: u64, timeout: Duration) -> u64;

    /// Every event up to this position is delivered or refused.
    fn delivered(&self) -> u64;

    /// Moves that mark. Never waits.
    fn mark_delivered(&self, position: u64);

    /// The broker refuses this event for good; said before the mark passes it. Never waits.
    fn mark_refused(&self, position: u64, reason: &str);
}
