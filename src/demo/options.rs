//! How the demo runs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Shorter, there is no time to take the broker away, kill a sidecar and bring both back.
pub const DURATION_MIN: Duration = Duration::from_secs(5);

/// Longer, the demo would keep more in memory than a demo should: it remembers every call.
pub const DURATION_MAX: Duration = Duration::from_secs(600);

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long callers begin calls; [`DURATION_MIN`] to [`DURATION_MAX`].
    pub duration: Duration,
    /// The program whose `serve` is started and killed.
    pub program: PathBuf,
    /// Standard output is a terminal: the picture is redrawn in place.
    pub terminal: bool,
}

impl Options {
    /// This program, shown on standard output as that allows.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub fn new(duration: Duration) -> std::io::Result<Options> {
        let terminal = std::io::stdout().is_terminal();
        Ok(Options { duration, program: std::env::current_exe()?, terminal })
    }
}
