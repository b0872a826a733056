//! Captured content in a sidecar that runs: its thread, its publisher, and the files that are read again.

use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::reload::Reloadable;
use crate::capture::seal::{Recipients, SealMode};
use crate::capture::{
    CONTENT_SENDER_THREAD, CallerShares, CaptureOptions, CaptureStats, Capturer, RunningCapture,
};
use crate::ledger::Ledger;
use crate::publish::{self, Publisher};
use metering::caller::Reload;
use smol_str::SmolStr;

/// Capturing that runs, and the publisher of what it stores.
#[derive(Debug)]
pub(super) struct ServedCapture {
    running: RunningCapture,
    publisher: Option<Publisher>,
}

/// The numbers of capturing, for as long as anybody wants them.
#[derive(Clone, Debug)]
pub(super) struct CaptureWatch {
    capturer: Capturer,
    publisher: Option<publish::Watch>,
}

impl ServedCapture {
    /// Starts it, if content is to be captured.
    pub(super) fn start(config: &Config, ledger: &Ledger) -> anyhow::Result<Option<ServedCapture>> {
        let Some(options) = config.capture.clone() else { return Ok(None) };
        if let Some(keys) = key_names(&options.seal) {
            tracing::info!(keys, "content is sealed to these keys");
        }
        let (running, source) = RunningCapture::start(options, ledger)?;
        let publisher = match config.publish_capture.clone() {
            Some(publish) => Some(Publisher::start(publish, source, CONTENT_SENDER_THREAD)?),
            None => None,
        };
        Ok(Some(ServedCapture { running, publisher }))
    }

    pub(super) fn capturer(&self) -> &Capturer {
        self.running.capturer()
    }

    pub(super) fn watch(&self) -> CaptureWatch {
        let publisher = self.publisher.as_ref().map(Publisher::watch);
        CaptureWatch { capturer: self.capturer().clone(), publisher }
    }

    /// Stores what was handed over and delivers it, until `end` at most. Returns how many parts are left, of those that
    /// are to be delivered.
    pub(super) fn stop(self, end: Instant) -> u64 {
        self.running.finish();
        let left = self
            .publisher
            .map_or(0, |publisher| publisher.stop(end.saturating_duration_since(Instant::now())));
        self.running.close();
        left
    }
}

impl CaptureWatch {
    /// The counters of captured content.
    pub(super) fn stats(&self) -> CaptureStats {
        self.capturer.stats()
    }

    /// Memory that it holds now.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.capturer.memory_bytes() as u64
    }

    /// The counters of its publisher.
    pub(super) fn published(&self) -> Option<publish::PublishStats> {
        self.publisher.as_ref().map(publish::Watch::stats)
    }
}

/// The values that are read from files, and read again.
pub(super) fn reloads(options: &CaptureOptions) -> Vec<Reloadable> {
    let keys = match &options.seal {
        SealMode::To(recipients) => Some(Arc::clone(recipients)),
        SealMode::Cleartext => None,
    };
    let keys = keys.map(|keys| Reloadable::file("capture-key-file", move || keys_again(&keys)));
    let callers = options.share.callers.clone();
    let callers =
        callers.map(|callers| Reloadable::file("capture-callers-file", move || callers_again(&callers)));
    keys.into_iter().chain(callers).collect()
}

/// Whoever may read from now on stands in the log.
fn keys_again(keys: &Arc<Reload<Recipients>>) -> anyhow::Result<bool> {
    let changed = keys.read_again().map_err(anyhow::Error::msg)?;
    if changed {
        tracing::info!(keys = names_of(&keys.current()), "content is sealed to these keys from now on");
    }
    Ok(changed)
}

fn callers_again(callers: &Reload<CallerShares>) -> anyhow::Result<bool> {
    let callers_before = callers.current().callers();
    let changed = callers.read_again().map_err(anyhow::Error::msg)?;
    if changed {
        let callers = callers.current().callers();
        tracing::info!(callers, callers_before, "the shares of callers that are captured have changed");
    }
    Ok(changed)
}

/// The names of the keys that content is sealed to; `None`: it is not sealed.
pub(super) fn key_names(seal: &SealMode) -> Option<String> {
    match seal {
        SealMode::To(recipients) => Some(names_of(&recipients.current())),
        SealMode::Cleartext => None,
    }
}

fn names_of(recipients: &Recipients) -> String {
    recipients.kids().map(SmolStr::as_str).collect::<Vec<_>>().join(", ")
}

/// Warnings to give at the start.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let Some(capture) = &config.capture else { return Vec::new() };
    let mut found = Vec::new();
    if matches!(capture.seal, SealMode::Cleartext) {
        found.push(
            "prompts and responses are kept without a key (--capture-cleartext allow): whoever reads the spool, its disk or \
             the capture topic reads them"
                .to_owned(),
        );
    }
    if config.publish.is_none() {
        found.push(
            "--capture without --kafka-brokers: captured content stays in its spool, until that is full (--capture-spool-max-bytes)"
                .to_owned(),
        );
    }
    found
}

impl Config {
    /// The sides that are captured, as the start line says them.
    pub(super) fn captured_sides(&self) -> &'static str {
        match self.capture.as_ref().map(|capture| capture.sides) {
            Some(sides) if sides.request && sides.response => "both",
            Some(sides) if sides.request => "request",
            Some(sides) if sides.response => "response",
            _ => "off",
        }
    }
}
