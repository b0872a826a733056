//! `tokenweir demo`: the whole path on one machine, over loopback only, and a proof at the end that
//! no call was lost.
//!
//! | file | what it holds |
//! |---|---|
//! | `fixtures` | prompts and answers of our own, with the usage that the rules give |
//! | `script`, `paced`, `service` | a service that answers with them as Azure OpenAI does |
//! | `client`, `callers`, `traffic` | eight callers, and the gates through which their calls begin |
//! | `sidecar` | the two sidecars: one in this process, one that is killed |
//! | `broker`, `tally` | the embedded broker, and its topic as finance adds it up |
//! | `books` | the ledgers, read meanwhile |
//! | `show`, `table` | the course of it, and what it looks like |

mod books;
mod broker;
mod callers;
mod client;
pub mod fixtures;
mod paced;
mod script;
pub mod service;
mod show;
mod sidecar;
mod table;
mod tally;
mod traffic;

use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use uuid::Uuid;

pub use paced::Pace;

use show::Show;

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

/// Runs the demo: `Ok(true)` if every call that was sent is stored, delivered and counted once.
///
/// Its ledgers lie in a temporary directory, which goes on success and is named on failure.
///
/// # Errors
/// Something could not be started, did not end in time, or was interrupted.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    ensure!(
        (DURATION_MIN..=DURATION_MAX).contains(&options.duration),
        "the demo runs for {} to {} seconds",
        DURATION_MIN.as_secs(),
        DURATION_MAX.as_secs()
    );
    let dir = std::env::temp_dir().join(format!("tokenweir-demo-{}", Uuid::new_v4()));
    DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
    let result = play(options, &dir);
    match result {
        Ok(true) => std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?,
        _ => writeln!(std::io::stderr(), "The ledgers are kept in {}", dir.display())?,
    }
    result
}

fn play(options: &Options, dir: &Path) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = async { Show::start(options, dir).await?.play().await } => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}
