//! Where calls come from.

use std::path::PathBuf;

use super::told::{Hear, Wanted};
use super::{admin_port, ledger_rows, topic_messages};
use crate::publish::KafkaConfig;
use crate::report::error::ReportError;

/// Where calls come from.
#[derive(Clone, Debug)]
pub enum WatchSource {
    /// The admin port of a sidecar, by its address: `http://127.0.0.1:9464`.
    AdminPort(String),
    /// The ledger in a directory.
    Ledger(PathBuf),
    /// The topic.
    Topic(KafkaConfig),
}

impl WatchSource {
    /// Tells of calls until the hearer has enough.
    ///
    /// # Errors
    /// If the source cannot be read, or ends.
    pub(super) fn watch(&self, wanted: Wanted, hear: &mut Hear<'_>) -> Result<(), ReportError> {
        match self {
            WatchSource::AdminPort(url) => admin_port::watch(url, wanted, hear),
            WatchSource::Ledger(dir) => ledger_rows::watch(dir, wanted, hear),
            WatchSource::Topic(config) => topic_messages::watch(config, wanted, hear),
        }
    }

    /// It tells of its sums itself.
    pub(super) fn has_sums(&self) -> bool {
        matches!(self, WatchSource::AdminPort(_))
    }

    /// The source, to be named at the head of a table.
    pub(super) fn name(&self) -> String {
        match self {
            WatchSource::AdminPort(url) => url.clone(),
            WatchSource::Ledger(dir) => format!("ledger {}", dir.display()),
            WatchSource::Topic(config) => format!("topic {}", config.topic),
        }
    }
}
