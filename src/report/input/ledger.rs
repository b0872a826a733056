//! A ledger, as far as it had been written when it was opened.

use std::path::{Path, PathBuf};

use super::bar::ReadingBar;
use super::each_event::EachEvent;
use crate::ledger::LedgerReader;
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;

/// Rows read from a ledger in one short transaction.
pub(crate) const READ_ROWS: usize = 512;

/// A ledger that is open.
pub(crate) struct LedgerEvents {
    pub(crate) reader: LedgerReader,
    pub(crate) dir: PathBuf,
    /// Position of the last event.
    pub(crate) last: u64,
}

impl LedgerEvents {
    pub(super) fn open(dir: &Path) -> Result<LedgerEvents, ReportError> {
        let named = |error| ReportError::Ledger { dir: dir.to_owned(), error };
        let reader = LedgerReader::open(dir).map_err(named)?;
        let last = reader.last().map_err(named)?;
        Ok(LedgerEvents { reader, dir: dir.to_owned(), last })
    }

    /// Shows every event; `ledger` is the place of this one among those that were given.
    pub(super) fn each(
        &self,
        ledger: usize,
        bar: &ReadingBar,
        each: &mut EachEvent<'_>,
    ) -> Result<(), ReportError> {
        bar.begin_events(&self.dir.display().to_string(), self.last);
        let mut after = 0;
        loop {
            let rows = self.reader.after(after, READ_ROWS)?;
            for row in rows.iter().filter(|row| row.position <= self.last) {
                let position = row.position;
                each(Ok(&row.body), EventOrigin::Ledger { ledger, dir: &self.dir, position })?;
            }
            match rows.last() {
                Some(last) if last.position < self.last => {
                    bar.advance(last.position - after);
                    after = last.position;
                }
                _ => return Ok(()),
            }
        }
    }
}
