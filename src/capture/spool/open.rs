//! Opens a spool at the start: its directory, a database that is damaged, and the boot that a dead process left.

use super::damage::give_up;
use super::error::SpoolError;
use super::log::{SpoolBoot, SpoolLog};
use super::options::{CAPTURE_DATABASE, SpoolOptions};
use super::store::SpoolStore;
use crate::ledger::{DirLock, StoreError, check_place};

/// A spool that is open and recovered.
pub(super) struct OpenedSpool {
    pub(super) store: SpoolStore,
    pub(super) log: SpoolLog,
    /// Of a directory that is not the ledger's.
    pub(super) lock: Option<DirLock>,
}

/// Opens the spool, or begins a new one if the one that is there cannot be used.
pub(super) fn open(options: &SpoolOptions) -> Result<OpenedSpool, SpoolError> {
    let lock = if options.in_ledger_dir {
        None
    } else {
        check_place(&options.dir, options.network_fs)?;
        Some(DirLock::take(&options.dir)?)
    };
    // Twice, so that one bad read costs no spool.
    let begun = match begin(options) {
        Err(error) if error.is_damage() => begin(options),
        begun => begun,
    };
    let (store, log) = match begun {
        Err(error) if error.is_damage() => {
            give_up(&options.dir.join(CAPTURE_DATABASE), &error.to_string(), None)?;
            begin(options)?
        }
        begun => begun?,
    };
    Ok(OpenedSpool { store, log, lock })
}

/// Opens the database and begins a boot.
fn begin(options: &SpoolOptions) -> Result<(SpoolStore, SpoolLog), SpoolError> {
    let path = options.dir.join(CAPTURE_DATABASE);
    let mut store = SpoolStore::open(&path, options.source.clone())?;
    let log = recover(&mut store, options).map_err(|error| SpoolError::Database { path, error })?;
    Ok((store, log))
}

/// Makes durable what a dead process left, and writes the last control event of its boot, unless it has one: so a
/// reader knows where that boot ended. What it had not stored is lost.
fn recover(store: &mut SpoolStore, options: &SpoolOptions) -> Result<SpoolLog, StoreError> {
    store.settle_wal()?;
    let found = store.log()?;
    let lost_one = found.is_none() && store.replaces_another()?;
    let mut log = found.unwrap_or_else(|| SpoolLog::new(options.boot));
    if log.boot.id == options.boot {
        log.boot.degraded |= lost_one;
        return store.begin(log)?.commit();
    }
    let previous = std::mem::replace(&mut log.boot, SpoolBoot::new(options.boot));
    let mut append = store.begin(log)?;
    if !previous.finished {
        append.control(previous.control(true))?;
    }
    append.commit()
}
