//! Stored events as JSON lines, exactly as they are published; also while `serve` runs. Why one was
//! refused is told beside them, so that the lines stay what a program can read.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::{READ_ROWS, ReportError};
use crate::ledger::{Reader, RefusedRow};

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
}

/// Writes stored events, one a line; of refused ones the place in the ledger and the reason to
/// `notes`. With `follow` it returns only when `out` is closed.
///
/// # Errors
/// If the ledger cannot be read, or `out` cannot be written for another reason than being closed.
pub fn events(
    options: &EventsOptions,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ReportError> {
    let reader = Reader::open(&options.dir)?;
    let mut after = 0;
    loop {
        let rows = if options.refused {
            let refused = reader.refused(after, READ_ROWS)?;
            for RefusedRow { row, reason } in &refused {
                // Nobody may read the notes, and the events are still worth writing.
                let _ = writeln!(notes, "refused: position {}: {reason}", row.position);
            }
            refused.into_iter().map(|refused| refused.row).collect()
        } else {
            reader.after(after, READ_ROWS)?
        };
        for row in &rows {
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

/// Whether whoever reads the output is still there.
fn open(written: std::io::Result<()>) -> Result<bool, ReportError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
