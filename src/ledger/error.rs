//! The errors of a ledger. They also tell whether the database itself is damaged, and whether the disk is
//! full.

use std::path::PathBuf;

use rustix::io::Errno;

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("the ledger directory {dir} is in use by {holder}", holder = holder_text(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The owner's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The directory or a file in it could not be made or read.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// The directory lies where locks and syncs may not hold.
    #[error(
        "the ledger directory {dir} lies on a network file system ({kind}), where locks and syncs may not hold: \
         two processes could write one ledger, and a power cut could take what was stored; use a local disk, \
         or set --ledger-network-fs allow"
    )]
    NetworkFs {
        /// The directory.
        dir: PathBuf,
        /// Which kind of file system.
        kind: &'static str,
    },
    /// A newer version made this ledger.
    #[error("the ledger has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// The version found.
        found: i64,
        /// The latest one known here.
        known: i64,
    },
    /// SQLite could not open or recover the database.
    #[error("{path}: {error}")]
    Database {
        /// The database.
        path: PathBuf,
        /// The error.
        error: StoreError,
    },
}

impl OpenError {
    /// The system's error number behind it, if there is one: what to do about it is a matter of that.
    pub fn errno(&self) -> Option<i32> {
        use rusqlite::ErrorCode;
        let errno = match self {
            OpenError::Io { error, .. } | OpenError::Database { error: StoreError::Sync(error), .. } => {
                return error.raw_os_error();
            }
            OpenError::Database { error: StoreError::Sqlite(error), .. } => {
                match error.sqlite_error_code()? {
                    ErrorCode::DiskFull => Errno::NOSPC,
                    ErrorCode::SystemIoFailure => Errno::IO,
                    ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
                        Errno::ACCESS
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(errno.raw_os_error())
    }

    /// The database itself is to blame: trying again cannot help, and nothing can be stored in it.
    /// Not so for errors of the disk or of the directory.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, OpenError::Database { error, .. } if error.is_damage())
    }

    /// There is no room: on the volume, or within the quota.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            OpenError::Io { error, .. } => error.kind() == std::io::ErrorKind::StorageFull,
            OpenError::Database { error, .. } => error.is_full(),
            _ => false,
        }
    }
}

fn holder_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite reports an error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The ledger's own state could not be read or written as JSON.
    #[error("ledger state: {0}")]
    State(#[from] serde_json::Error),
    /// The database is not what this program writes.
    #[error("not a whole ledger: {0}")]
    Damaged(String),
    /// Another process has been reading for so long that the WAL cannot be cut.
    #[error("a reader keeps the WAL from being cut; no transaction of a reader may stay open")]
    ReaderInWal,
    /// Committed events could not be made durable.
    #[error("the WAL cannot be synced: {0}")]
    Sync(std::io::Error),
    /// A sync of the database failed, and the WAL's index cannot be built anew yet: somebody has it open.
    #[error(
        "pages that a failed sync lost are in the WAL, and are copied again once no process has the ledger open"
    )]
    CopyInDoubt,
    /// It was closed after an error and could not be opened again yet.
    #[error("the database is not open")]
    Closed,
}

impl StoreError {
    /// See [`OpenError::is_full`].
    pub(crate) fn is_full(&self) -> bool {
        match self {
            StoreError::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            StoreError::Sync(error) => error.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// See [`OpenError::is_damage`]. An I/O error or a full disk is none.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::{Error, ErrorCode};
        match self {
            StoreError::Damaged(_) | StoreError::State(_) => true,
            StoreError::Sqlite(Error::SqliteFailure(error, _)) => {
                matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // A value is not of the type that was stored.
            StoreError::Sqlite(error) => matches!(
                error,
                Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::Utf8Error(..)
            ),
            StoreError::ReaderInWal | StoreError::Sync(_) | StoreError::CopyInDoubt | StoreError::Closed => {
                false
            }
        }
    }
}

/// The ledger stopped before everything was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unstored} operations could not be stored")]
pub struct CloseError {
    /// Operations that were not stored. Calls that the ledger knew to be open come back as
    /// crashed at the next start.
    pub unstored: u64,
}
