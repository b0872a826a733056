//! Errors of the database that a test asks for.

use super::error::{OpenError, StoreError};
use super::options::DATABASE;

/// Errors that a test asks for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Transactions report an error and are not committed.
    pub(super) lose: bool,
    /// The next one does.
    pub(super) lose_once: bool,
    /// The next transaction is committed and reports an error.
    pub(super) commit_and_fail: bool,
    /// The database cannot be opened.
    pub(super) no_open: bool,
}

impl Faults {
    pub(super) fn before_write(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.lose_once) || self.lose { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn after_write<T>(&mut self, value: T) -> Result<T, StoreError> {
        if std::mem::take(&mut self.commit_and_fail) { Err(StoreError::Closed) } else { Ok(value) }
    }

    pub(super) fn before_open(&self) -> Result<(), OpenError> {
        let error = || OpenError::Io { path: DATABASE.into(), error: std::io::Error::other("a test") };
        if self.no_open { Err(error()) } else { Ok(()) }
    }
}
