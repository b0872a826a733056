//! How a ledger behaves, and the name of its database.

use std::path::PathBuf;
use std::time::Duration;

use metering::usage::ControlKey;

/// Name of the database within the ledger's directory.
pub const DATABASE: &str = "ledger.sqlite3";

/// The values of [`LedgerOptions::new`]: the defaults of the settings.
const SLOTS: usize = 65_536;
const KEEP: Duration = Duration::from_secs(7 * 86_400);
const CONTROL_INTERVAL: Duration = Duration::from_secs(60);
const BYTES_MAX: u64 = 10 << 30;

/// How a ledger behaves.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The directory; made (0700) if absent.
    pub dir: PathBuf,
    /// Calls that may be open at once; beyond it [`super::Ledger::reserve`] gives `None`.
    pub slots: usize,
    /// How long delivered events stay.
    pub keep: Duration,
    /// How often a control event is written.
    pub control_interval: Duration,
    /// The events are published; else they count as delivered when stored.
    pub publishes: bool,
    /// Room that the directory may take, in bytes. Above 80 % delivered events go oldest first;
    /// where undelivered ones fill it, calls are summed.
    pub max_bytes: u64,
    /// The directory may lie on a network file system, whose locks and syncs may not hold.
    pub network_fs: bool,
    /// Signs control events.
    pub control_key: Option<ControlKey>,
}

impl LedgerOptions {
    /// A ledger in a directory that behaves as `serve` does by default, and whose events
    /// are not published.
    pub fn new(dir: impl Into<PathBuf>) -> LedgerOptions {
        LedgerOptions {
            dir: dir.into(),
            slots: SLOTS,
            keep: KEEP,
            control_interval: CONTROL_INTERVAL,
            publishes: false,
            max_bytes: BYTES_MAX,
            network_fs: false,
            control_key: None,
        }
    }
}
