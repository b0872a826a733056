//! `tokenweir demo`: the whole path on one machine, over loopback only, and a proof at the end that
//! no call was lost.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | how it runs |
//! | `fixtures` | prompts and responses of our own, with the usage that the rules give |
//! | `dialect`, `script`, `message`, `work`, `websocket`, `paced`, `service` | a service that answers with them as Azure OpenAI and Claude do |
//! | `client`, `background`, `conversation`, `callers`, `traffic` | eleven callers, and the gates through which their calls begin |
//! | `sidecar` | the two sidecars: one in this process, one that is killed |
//! | `broker`, `tally` | the embedded broker, and its topic as finance adds it up |
//! | `ledger_tally` | the ledgers, read meanwhile |
//! | `show`, `table` | the course of it, and what it looks like |

mod background;
mod broker;
mod callers;
mod client;
mod conversation;
mod dialect;
pub mod fixtures;
mod ledger_tally;
mod message;
mod options;
mod paced;
mod script;
pub mod service;
mod show;
mod sidecar;
mod table;
mod tally;
mod traffic;
mod websocket;
mod work;

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use uuid::Uuid;

pub use options::{DURATION_MAX, DURATION_MIN, Options};
pub use paced::Pace;

use show::Show;

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
