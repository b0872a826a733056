//! Why publishing cannot begin.

use super::config::KafkaConfigError;
use crate::ledger::ReadError;

/// Why publishing cannot begin. An unreachable broker is no reason: events wait in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong; every error is listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<KafkaConfigError>),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Ledger(#[from] ReadError),
    /// The thread or the producer could not be made.
    #[error("the publisher cannot start: {0}")]
    Producer(String),
}
