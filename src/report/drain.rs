//! Publishing what a dead instance left. Safe to run twice and safe to kill: events keep their ids
//! and their bytes, so an event that is sent again is a repeat that readers drop.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::ReportError;
use crate::capture::{CAPTURE_DATABASE, CONTENT_SENDER_THREAD, CaptureOptions, RunningCapture};
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
    /// The spool of captured content, which is drained after the ledger; `None`: there is none.
    pub spool: Option<SpoolToDrain>,
}

/// A spool of captured content, and its topic.
#[derive(Clone, Debug)]
pub struct SpoolToDrain {
    /// Where it lies, and the room that it may take.
    pub options: CaptureOptions,
    /// The topic.
    pub config: KafkaConfig,
}

impl SpoolToDrain {
    /// The spool in a directory, of which [`SpoolToDrain::is_in`] says that there is one.
    pub fn new(dir: &Path, bytes_max: u64, network_fs: bool, config: KafkaConfig) -> SpoolToDrain {
        let options = CaptureOptions::of_nothing(dir, bytes_max, network_fs, CONTROL_INTERVAL);
        SpoolToDrain { options, config }
    }

    /// There is a spool in this directory.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(CAPTURE_DATABASE).is_file()
    }
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
    /// The same of the spool of captured content, where there is one.
    pub spool: Option<DrainedSpool>,
}

/// The result for a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainedSpool {
    /// Events delivered now, one of which closes the drain's boot.
    pub delivered: u64,
    /// Events refused by the broker for good, now.
    pub refused: u64,
    /// Events that are still only in the spool.
    pub left: u64,
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
    let publisher = Publisher::of_ledger(options.config.clone(), ledger.clone())?;
    watch(|| ledger.stats().undelivered, own, options.patience, &mut tell);
    let left = publisher.stop(Duration::ZERO);
    let spool = options.spool.as_ref().map(|spool| drain_spool(spool, &ledger, options.patience, &mut tell));
    let closed = ledger.close();
    let stats = ledger.stats();
    if let Err(error) = closed {
        tracing::error!(%error, "the ledger could not note all that was delivered; it will be sent again");
    }
    let left = left.max(stats.undelivered);
    let spool = spool.transpose()?;
    Ok(Drained { delivered: stats.delivered, refused: stats.refused, left, own, spool })
}

/// Takes the spool as the ledger's boot, which captures nothing, and publishes everything.
fn drain_spool(
    spool: &SpoolToDrain,
    ledger: &Ledger,
    patience: Duration,
    tell: &mut impl FnMut(&Draining),
) -> Result<DrainedSpool, ReportError> {
    let (running, source) = RunningCapture::start(spool.options.clone(), ledger)?;
    running.finish();
    let capturer = running.capturer().clone();
    let before = capturer.stats().undelivered;
    let publisher = Publisher::start(spool.config.clone(), source, CONTENT_SENDER_THREAD)?;
    watch(|| capturer.stats().undelivered, true, patience, tell);
    let left = publisher.stop(Duration::ZERO);
    running.close();
    let stats = capturer.stats();
    let (left, refused) = (left.max(stats.undelivered), stats.refused);
    Ok(DrainedSpool { delivered: before.saturating_sub(left + refused), refused, left })
}

/// Waits until nothing is left, or nothing has been delivered for too long.
fn watch(undelivered: impl Fn() -> u64, own: bool, patience: Duration, tell: &mut impl FnMut(&Draining)) {
    let total = undelivered();
    let (mut left, mut moved) = (total, Instant::now());
    loop {
        let now = undelivered();
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
