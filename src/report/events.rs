//! Stored events as JSON lines, exactly as they are published; also while `serve` runs.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::error::ReportError;
use super::input::READ_ROWS;
use crate::ledger::LedgerReader;
use metering::names;
use metering::usage::StoredEvent;

/// How often to look for new events. A look is one short read of the last page.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Which events.
#[derive(Clone, Debug)]
pub struct EventsOptions {
    /// The ledger's directory.
    pub dir: PathBuf,
    /// Wait for more at the end.
    pub follow: bool,
    /// Only those that the broker refused for good.
    pub refused: bool,
    /// Only those of this time or later.
    pub from: Option<Timestamp>,
    /// Only so many of those that are stored by now, the last.
    pub tail: Option<u64>,
}

/// Writes stored events to `out`, one a line, and nothing else. Of refused ones, `reasons` gets a
/// line that says why. With `follow` it returns only when `out` is closed.
///
/// # Errors
/// If the ledger cannot be read, or `out` cannot be written for another reason than being closed.
pub fn events(
    options: &EventsOptions,
    out: &mut impl Write,
    reasons: &mut impl Write,
) -> Result<(), ReportError> {
    let reader = LedgerReader::open(&options.dir)?;
    let mut after = match options.tail {
        Some(tail) => reader.before_last(tail, options.refused)?,
        None => 0,
    };
    loop {
        let rows = if options.refused {
            let refused = reader.refused(after, READ_ROWS)?;
            for refused in &refused {
                // A failure is ignored: the events matter, not the reasons.
                let _ =
                    writeln!(reasons, "position {}: {}", refused.row.position, names::shown(&refused.reason));
            }
            refused.into_iter().map(|refused| refused.row).collect()
        } else {
            reader.after(after, READ_ROWS)?
        };
        for row in rows.iter().filter(|row| options.from.is_none_or(|from| is_since(&row.body, from))) {
            if !open(writeln!(out, "{}", row.body))? {
                return Ok(());
            }
        }
        match rows.last() {
            Some(last) => after = last.position,
            None => {
                if !open(out.flush())? || !options.follow {
                    return Ok(());
                }
                std::thread::sleep(FOLLOW_EVERY);
            }
        }
    }
}

/// Whether an event is of this time or later; one whose time cannot be read is.
fn is_since(body: &str, from: Timestamp) -> bool {
    let time = StoredEvent::read(body).ok().and_then(|event| event.time);
    time.is_none_or(|time| time >= from)
}

/// Whether the output still has a reader.
fn open(written: std::io::Result<()>) -> Result<bool, ReportError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
