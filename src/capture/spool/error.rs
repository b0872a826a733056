//! Why a spool could not be opened.

use std::path::PathBuf;

use crate::ledger::{OpenError, StoreError};

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its directory or a file in it cannot be used.
    #[error("--capture-dir: {0}")]
    Place(#[from] OpenError),
    /// A newer version made it.
    #[error("{path}: the spool has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The latest one known here.
        known: i64,
    },
    /// SQLite could not open it.
    #[error("{path}: {error}")]
    Database {
        /// The database.
        path: PathBuf,
        /// The error.
        error: StoreError,
    },
}

impl SpoolError {
    /// The database itself is to blame: trying again cannot help.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, SpoolError::Database { error, .. } if error.is_damage())
    }
}
