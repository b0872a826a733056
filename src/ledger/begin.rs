//! Opens the database at the start: what a dead process left is recovered, and what of it is durable is known.

use uuid::Uuid;

use super::copier::Copier;
use super::error::{OpenError, StoreError};
use super::log::Log;
use super::options::{DATABASE, LedgerOptions};
use super::quota::Quota;
use super::recover::recover;
use super::store::Store;
use super::syncer::Mark;

/// A database that is open and recovered.
pub(super) struct Begun {
    pub(super) store: Store,
    pub(super) copier: Copier,
    pub(super) source: String,
    pub(super) log: Log,
    pub(super) stored_counts: bool,
    /// The mark up to which everything is durable for certain.
    pub(super) synced: Mark,
}

/// Opens the database, recovers, and bounds what it may take.
pub(super) fn begin(
    options: &LedgerOptions,
    quota: &Quota,
    boot: Uuid,
    was_degraded: bool,
) -> Result<Begun, OpenError> {
    let path = options.dir.join(DATABASE);
    let database = |error| OpenError::Database { path: path.clone(), error };
    let mut store = Store::open(&path, options.control_key.clone())?;
    let source = store.source().map_err(database)?;
    // Recovery may go beyond the quota: the calls of a dead process are at most `slots`.
    let recovered = recover(&mut store, &source, boot, !options.publishes, was_degraded);
    let (log, found) = recovered.map_err(database)?;
    store.bound(quota).and_then(|()| store.limit(quota.events)).map_err(database)?;
    let synced = if was_degraded { settle(&store, &log).map_err(database)? } else { log.delivered() };
    let stored_counts = !options.publishes && found.undelivered == 0;
    if found.crashed > 0 {
        tracing::warn!(calls = found.crashed, "calls of a process that died are settled as crashed");
    }
    if was_degraded {
        tracing::error!(dir = %options.dir.display(), "the last process died while calls were summed in its memory: those are lost");
    }
    if !options.publishes && !stored_counts {
        tracing::warn!(
            events = found.undelivered,
            "events wait for a broker, but none is configured: all are kept until `drain` or a start with one"
        );
    }
    let copier = Copier::open(&path).map_err(database)?;
    Ok(Begun { store, copier, source, log, stored_counts, synced })
}

/// Makes durable what a process left behind for which something had failed: a sync of its WAL may succeed now although
/// the system has dropped what it should have covered. The part that is left to the syncer comes back as not synced.
fn settle(store: &Store, log: &Log) -> Result<Mark, StoreError> {
    match store.settle_wal() {
        Ok(()) => Ok(log.reached()),
        Err(StoreError::ReaderInWal) => Ok(log.delivered()),
        Err(error) => Err(error),
    }
}
