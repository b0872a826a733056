//! Stored events as the process that writes them reads them: it lets go of the ledger where the writer needs that
//! (`storage`), and opens it again with the next read.

use super::handle::Ledger;
use super::reader::{EventRow, LedgerReader, ReadError};

/// A reader within the process that owns the ledger.
#[derive(Debug)]
pub struct OwnReader {
    ledger: Ledger,
    reader: Option<LedgerReader>,
    /// How often readers had been called off when this one was opened.
    called_off: u64,
}

impl OwnReader {
    /// Opens the ledger for reading.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(ledger: Ledger) -> Result<OwnReader, ReadError> {
        let mut own = OwnReader { ledger, reader: None, called_off: 0 };
        own.reader()?;
        Ok(own)
    }

    /// Lets go of the ledger if the writer has called its readers off since. Until then the ledger stays failing, so
    /// this is for each round of whoever reads.
    pub fn let_go_if_called_off(&mut self) {
        if self.called_off != self.ledger.readers_called_off() {
            self.reader = None;
        }
    }

    /// Up to `limit` events after a position, in order.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn after(&mut self, position: u64, limit: usize) -> Result<Vec<EventRow>, ReadError> {
        self.after_within(position, limit, usize::MAX)
    }

    /// The same, no more once they have so many bytes, but one event if there is one.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn after_within(
        &mut self,
        position: u64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EventRow>, ReadError> {
        self.reader()?.after_within(position, limit, bytes_max)
    }

    fn reader(&mut self) -> Result<&LedgerReader, ReadError> {
        self.let_go_if_called_off();
        if self.reader.is_none() {
            self.called_off = self.ledger.readers_called_off();
        }
        match &mut self.reader {
            Some(reader) => Ok(reader),
            none => Ok(none.insert(LedgerReader::open(self.ledger.dir())?)),
        }
    }
}
