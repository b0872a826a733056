//! The rows of a ledger, also while `serve` runs.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::StoredEvent;

use super::told::{BEGIN, BEGIN_CALLS, Hear, Told, Wanted};
use crate::ledger::LedgerReader;
use crate::report::error::ReportError;
use crate::report::input::READ_ROWS;
use crate::telemetry::live::LiveCall;

/// How often to look for new events. A look is one short read of the last page.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Tells of the calls of a ledger, and of those that come.
pub(super) fn watch(dir: &Path, wanted: Wanted, hear: &mut Hear<'_>) -> Result<(), ReportError> {
    let reader = LedgerReader::open(dir)?;
    let mut after = match wanted {
        Wanted::Calls => reader.last()?.saturating_sub(BEGIN_CALLS),
        Wanted::Sums => before(&reader, Timestamp::now() - BEGIN)?,
    };
    loop {
        let rows = reader.after(after, READ_ROWS)?;
        let is_last = rows.len() < READ_ROWS;
        for row in rows {
            after = row.position;
            if let Some(call) = LiveCall::stored(&row.body)
                && hear(Told::Call(Box::new(call)))?.is_break()
            {
                return Ok(());
            }
        }
        if hear(if is_last { Told::UpToDate } else { Told::Behind })?.is_break() {
            return Ok(());
        }
        if is_last {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A position behind which all events are from this time on: rows lie in the order in which their numbers became
/// final, but for a few of the same moment.
fn before(reader: &LedgerReader, time: Timestamp) -> Result<u64, ReportError> {
    let (mut low, mut high) = (0, reader.last()?);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = reader.after(middle, 1)?.pop();
        let late = row.as_ref().is_none_or(|row| {
            let event = StoredEvent::read(&row.body).ok();
            event.and_then(|event| event.time).is_none_or(|at| at >= time)
        });
        match row {
            Some(row) if !late => low = row.position,
            _ => high = middle,
        }
    }
    Ok(low)
}
