//! The ledger as an outbox of usage events.

use std::time::Duration;

use super::source::EventSource;
use crate::ledger::{EventRow, Ledger, OwnReader, ReadError};

/// A ledger of this process, to be published.
#[derive(Debug)]
pub struct LedgerSource {
    ledger: Ledger,
    reader: OwnReader,
}

impl LedgerSource {
    /// Opens the ledger for reading.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(ledger: Ledger) -> Result<LedgerSource, ReadError> {
        Ok(LedgerSource { reader: OwnReader::open(ledger.clone())?, ledger })
    }
}

impl EventSource for LedgerSource {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn after(
        &mut self,
        position: u64,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<EventRow>, ReadError> {
        self.reader.after_within(position, rows_max, bytes_max)
    }

    fn let_go_if_called_off(&mut self) {
        self.reader.let_go_if_called_off();
    }

    fn stored(&self) -> u64 {
        self.ledger.wait_stored(u64::MAX, Duration::ZERO)
    }

    fn wait_synced(&self, after: u64, timeout: Duration) -> u64 {
        self.ledger.wait_synced(after, timeout)
    }

    fn delivered(&self) -> u64 {
        self.ledger.delivered()
    }

    fn mark_delivered(&self, position: u64) {
        self.ledger.mark_delivered(position);
    }

    fn mark_refused(&self, position: u64, reason: &str) {
        self.ledger.mark_refused(position, reason);
    }
}
