//! Reads a sidecar's ledger from outside while the sidecar runs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::ledger::LedgerReader;
use metering::usage::{EventType, StoredEvent};

/// Rows of one read; a demo has some hundreds.
const ROWS_PER_READ: usize = 512;

/// One ledger's usage events, read once each.
#[derive(Debug)]
pub(super) struct LedgerTally {
    dir: PathBuf,
    /// Every row up to this one has been read.
    position: u64,
    usage_ids: HashSet<String>,
}

impl LedgerTally {
    pub(super) fn new(dir: &Path) -> LedgerTally {
        LedgerTally { dir: dir.to_owned(), position: 0, usage_ids: HashSet::new() }
    }

    /// Reads what is new and returns how many distinct usage events there are.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn stored(&mut self) -> anyhow::Result<u64> {
        let reader = LedgerReader::open(&self.dir)?;
        self.read(&reader)
    }

    /// Distinct usage events, and the calls that are open. A call that ends between the two reads
    /// is missed for now, never counted twice.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn stored_and_open(&mut self) -> anyhow::Result<(u64, u64)> {
        let reader = LedgerReader::open(&self.dir)?;
        let stored = self.read(&reader)?;
        Ok((stored, reader.open_calls()?))
    }

    fn read(&mut self, reader: &LedgerReader) -> anyhow::Result<u64> {
        loop {
            let rows = reader.after(self.position, ROWS_PER_READ)?;
            let Some(last) = rows.last() else { return Ok(self.usage_ids.len() as u64) };
            self.position = last.position;
            for row in &rows {
                let event = StoredEvent::read(&row.body)?;
                if event.event_type() == Some(EventType::Usage) {
                    self.usage_ids.insert(event.id.into_owned());
                }
            }
        }
    }
}
