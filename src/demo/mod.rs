//! `tokenweir demo`: the whole path on one machine, over loopback only, and a proof at the end that
//! no call was lost.
//!
//! | file | what it holds |
//! |---|---|
//! | `options`, `last_run` | how it runs, and the folder where its ledgers stay |
//! | `fixtures` | prompts and responses of our own, with the usage that the rules give |
//! | `dialect`, `script`, `message`, `work`, `websocket`, `paced`, `service` | a service that answers with them as Azure OpenAI and Claude do |
//! | `service_only` | that service alone, for whoever has no other |
//! | `departments`, `client`, `background`, `conversation`, `open_streams`, `callers`, `traffic` | eleven callers, who pays for them, and the gates through which their calls begin |
//! | `sidecar` | the two sidecars: one in this process, one that is killed |
//! | `broker`, `tally` | the embedded broker, and its topic as finance adds it up |
//! | `ledger_tally`, `figures` | the ledgers, read meanwhile, and the numbers that are to be one |
//! | `stage` | all of that, and what can be done to it |
//! | `style`, `introduction`, `acts`, `table`, `picture`, `screen` | what it looks like |
//! | `keyboard`, `key_record` | the keys at a terminal, and what they did |
//! | `bill`, `checks`, `look_around`, `ending` | what is said at the end |
//! | `show` | the course of it |

mod acts;
mod background;
mod bill;
mod broker;
mod callers;
mod checks;
mod client;
mod conversation;
mod departments;
mod dialect;
mod ending;
mod figures;
pub mod fixtures;
mod introduction;
mod key_record;
mod keyboard;
mod last_run;
mod ledger_tally;
mod look_around;
mod message;
mod open_streams;
mod options;
mod paced;
mod picture;
mod screen;
mod script;
pub mod service;
mod service_only;
mod show;
mod sidecar;
mod stage;
mod style;
mod table;
mod tally;
mod traffic;
mod websocket;
mod work;

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

pub use options::{DURATION, DURATION_MAX, DURATION_MIN, DURATION_WITH_PAGE, Options};
pub use paced::Pace;

use last_run::LastRunFolder;
use show::Show;

/// Runs the demo: `Ok(true)` if every call that was sent is stored, delivered and counted once.
///
/// Its ledgers stay in the temporary folder until the next demo.
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
    let folder = LastRunFolder::take()?;
    let result = play(options, &folder);
    if !matches!(result, Ok(true)) {
        writeln!(std::io::stderr(), "The ledgers are kept in {}", folder.dir().display())?;
    }
    result
}

/// Runs only the service of the demo, until a signal ends it.
///
/// # Errors
/// The address cannot be had.
pub fn run_service(listen: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(service_only::serve(listen, ended()))
}

fn play(options: &Options, folder: &LastRunFolder) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = async { Show::start(options, folder).await?.play().await } => result,
            _ = ended() => bail!("interrupted"),
        }
    })
}

/// Waits for a signal that ends a program. Without one that can be waited for, each ends it at once.
async fn ended() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
