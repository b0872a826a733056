//! How a spool behaves, and the name of its database.

use std::path::PathBuf;

use smol_str::SmolStr;
use uuid::Uuid;

/// Name of the database within its directory, which may be the ledger's.
pub const CAPTURE_DATABASE: &str = "capture.sqlite3";

/// How a spool behaves.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The directory; made (0700) if absent.
    pub dir: PathBuf,
    /// It is the ledger's, which is locked already.
    pub in_ledger_dir: bool,
    /// The directory may lie on a network file system, whose locks and syncs may not hold.
    pub network_fs: bool,
    /// CloudEvents `source` of the usage events, and so of the parts.
    pub source: SmolStr,
    /// The boot of the usage events, and so of the parts.
    pub boot: Uuid,
    /// Room that the database and its WAL may take, in bytes.
    pub max_bytes: u64,
}
