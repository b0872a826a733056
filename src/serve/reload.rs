//! Values that come from files and may be replaced while the process runs.
//!
//! One thread reads all of it again every [`RELOAD_EVERY`], and at once on SIGHUP. A file that
//! cannot be read or makes no sense changes nothing: the old value stays in force, and the log says why.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::telemetry::log::LogLevel;
use crate::telemetry::{ReloadResult, log};

/// Kubernetes brings a changed secret within a minute; half of that on top.
const RELOAD_EVERY: Duration = Duration::from_secs(30);

/// Something that is read from files.
pub(super) struct Reloadable {
    /// Its name in the log: that of the setting.
    pub(super) what: &'static str,
    /// Reads it again, and hears whether somebody asked for that. True if it has changed; an error leaves the old in force.
    read: Box<dyn Fn(bool) -> anyhow::Result<bool> + Send>,
}

impl Reloadable {
    /// A value that comes from a file.
    pub(super) fn file(
        what: &'static str,
        read: impl Fn() -> anyhow::Result<bool> + Send + 'static,
    ) -> Reloadable {
        Reloadable { what, read: Box::new(move |_| read()) }
    }
}

/// The configuration, read again while the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rereading {
    /// The level that holds now.
    pub log_level: LogLevel,
    /// Settings that have changed and hold from the next start on, by their keys.
    pub needs_restart: Vec<String>,
}

/// The configuration itself: the log level is taken from it at once, and of everything else the log says that it needs a
/// restart, once for each change, and at each request.
pub(super) fn configuration(reread: impl Fn() -> anyhow::Result<Rereading> + Send + 'static) -> Reloadable {
    let said = Mutex::new(Vec::new());
    let read = move |on_request| {
        let Rereading { log_level, needs_restart } = reread()?;
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if !needs_restart.is_empty() && (on_request || *said != needs_restart) {
            let settings = needs_restart.join(", ");
            tracing::warn!(settings, "the configuration has changed: restart to use these settings");
        }
        *said = needs_restart;
        Ok(log::set_level(log_level))
    };
    Reloadable { what: "log-level", read: Box::new(read) }
}

/// The thread that reads again.
#[derive(Debug)]
pub(super) struct Reloader {
    /// A message asks to read everything now; a closed channel is the end.
    asks: Sender<()>,
    thread: JoinHandle<()>,
}

impl Reloader {
    /// `seen` hears of every change and of every error.
    pub(super) fn start(
        all: Vec<Reloadable>,
        seen: impl Fn(&'static str, ReloadResult) + Send + 'static,
    ) -> std::io::Result<Reloader> {
        let (asks, asked) = channel();
        let thread = std::thread::Builder::new().name("tw-reload".to_owned()).spawn(move || {
            let mut said: Vec<Option<String>> = all.iter().map(|_| None).collect();
            loop {
                let on_request = match asked.recv_timeout(RELOAD_EVERY) {
                    Ok(()) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                for (reload, said) in all.iter().zip(&mut said) {
                    read_again(reload, on_request, said, &seen);
                }
            }
        })?;
        Ok(Reloader { asks, thread })
    }

    /// Asks for all of it to be read now; does not wait.
    pub(super) fn ask(&self) {
        let _ = self.asks.send(());
    }

    pub(super) fn stop(self) {
        drop(self.asks);
        let _ = self.thread.join();
    }
}

/// An error is told once, and again after each request.
fn read_again(
    reload: &Reloadable,
    on_request: bool,
    said: &mut Option<String>,
    seen: &impl Fn(&'static str, ReloadResult),
) {
    match (reload.read)(on_request) {
        Ok(changed) => {
            *said = None;
            if changed {
                seen(reload.what, ReloadResult::Changed);
            }
            if changed || on_request {
                tracing::info!(setting = reload.what, changed, "read again");
            }
        }
        Err(error) => {
            seen(reload.what, ReloadResult::Failed);
            let error = format!("{error:#}");
            if on_request || said.as_ref() != Some(&error) {
                tracing::error!(setting = reload.what, %error, "cannot be read again; what was read before stays in force");
            }
            *said = Some(error);
        }
    }
}
