//! Publishing what a dead instance left. Safe to run twice and safe to kill: events keep their ids.

use std::path::PathBuf;
use std::time::Duration;

use super::ReportError;
use crate::ledger::{DATABASE, Ledger, Options, ReadError};
use crate::publish::{Config, Publisher};

/// A ledger that is drained takes no calls.
const SLOTS: usize = 0;

/// What to drain, and where to.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The ledger's directory.
    pub dir: PathBuf,
    /// The topic.
    pub config: Config,
    /// How long to try.
    pub timeout: Duration,
    /// How long delivered events stay: as for the instance that wrote them.
    pub keep: Duration,
}

/// What a drain achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Events delivered now.
    pub delivered: u64,
    /// Events refused by the broker for good, now.
    pub refused: u64,
    /// Events that are still only in the ledger. Only 0 is success.
    pub left: u64,
}

/// Takes the ledger as a new boot, settles calls that a dead process left open, and publishes
/// everything. Blocks until nothing is left or the time is over.
///
/// # Errors
/// If there is no ledger, another process owns it, or the Kafka settings are wrong.
pub fn drain(options: &DrainOptions) -> Result<Drained, ReportError> {
    if !options.dir.join(DATABASE).is_file() {
        return Err(ReadError::Absent(options.dir.clone()).into());
    }
    let ledger = Ledger::open(Options {
        slots: SLOTS,
        keep: options.keep,
        // Longer than any drain: its one control event is the last.
        control_interval: options.timeout.saturating_add(Duration::from_secs(3_600)),
        publishes: true,
        ..Options::new(&options.dir)
    })?;
    // A failure is logged; what is stored can be published all the same.
    let _ = ledger.finish();
    let publisher = Publisher::start(options.config.clone(), ledger.clone())?;
    let left = publisher.stop(options.timeout);
    let closed = ledger.close();
    let stats = ledger.stats();
    if let Err(error) = closed {
        tracing::error!(%error, "the ledger could not note all that was delivered; it will be sent again");
    }
    Ok(Drained { delivered: stats.delivered, refused: stats.refused, left })
}
