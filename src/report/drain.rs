//! Publishing what a dead instance left. Safe to run twice and safe to kill: events keep their ids
//! and their bytes, so an event that is sent again is a repeat that readers drop.

use std::time::{Duration, Instant};

use super::error::ReportError;
use crate::ledger::{DATABASE, Ledger, LedgerOptions, ReadError};
use crate::publish::{KafkaConfig, Publisher};

/// A ledger that is drained takes no calls.
const SLOTS: usize = 0;

/// Its one control event is the last.
const CONTROL_INTERVAL: Duration = Duration::from_secs(365 * 86_400);

/// How often to look how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The ledger to drain, and the topic.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The ledger, and how it behaves: its directory, what it keeps, the room that it may take. As for
    /// the instance that wrote it.
    pub ledger: LedgerOptions,
    /// The topic.
    pub config: KafkaConfig,
    /// How long to go on without a single event being delivered.
    pub patience: Duration,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Events that there were to deliver.
    pub total: u64,
    /// One of them is the drain's own control event.
    pub own: bool,
    /// Of these: still to be delivered.
    pub left: u64,
    /// For how long nothing has been delivered.
    pub quiet: Duration,
    /// After how long of that the drain gives up.
    pub patience: Duration,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Events delivered now.
    pub delivered: u64,
    /// Events refused by the broker for good, now.
    pub refused: u64,
    /// Events that are still only in the ledger. Only 0 is success.
    pub left: u64,
    /// One of the events is the drain's own: the control event that closes its boot.
    pub own: bool,
}

/// Takes the ledger as a new boot, settles calls that a dead process left open, and publishes
/// everything. Blocks until nothing is left, or nothing moves any more; meanwhile says some times a
/// second how far it has come.
///
/// # Errors
/// If there is no ledger, another process owns it, or the Kafka settings are wrong.
pub fn drain(options: &DrainOptions, mut tell: impl FnMut(&Draining)) -> Result<Drained, ReportError> {
    let dir = &options.ledger.dir;
    if !dir.join(DATABASE).is_file() {
        return Err(ReadError::Absent(dir.clone()).into());
    }
    let ledger = Ledger::open(LedgerOptions {
        slots: SLOTS,
        control_interval: CONTROL_INTERVAL,
        publishes: true,
        ..options.ledger.clone()
    })?;
    // A failure is logged; what is stored can be published nevertheless.
    let own = ledger.finish().is_ok();
    let publisher = Publisher::start(options.config.clone(), ledger.clone())?;
    watch(&ledger, own, options.patience, &mut tell);
    let left = publisher.stop(Duration::ZERO);
    let closed = ledger.close();
    let stats = ledger.stats();
    if let Err(error) = closed {
        tracing::error!(%error, "the ledger could not note all that was delivered; it will be sent again");
    }
    let left = left.max(stats.undelivered);
    Ok(Drained { delivered: stats.delivered, refused: stats.refused, left, own })
}

/// Waits until nothing is left, or nothing has been delivered for too long.
fn watch(ledger: &Ledger, own: bool, patience: Duration, tell: &mut impl FnMut(&Draining)) {
    let total = ledger.stats().undelivered;
    let (mut left, mut moved) = (total, Instant::now());
    loop {
        let now = ledger.stats().undelivered;
        if now < left {
            (left, moved) = (now, Instant::now());
        }
        let quiet = moved.elapsed();
        tell(&Draining { total, own, left, quiet, patience });
        if left == 0 || quiet >= patience {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
