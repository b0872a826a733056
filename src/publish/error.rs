//! Wrong settings, and why publishing cannot begin.

use crate::ledger::ReadError;

/// One thing that is wrong with a [`KafkaConfig`](super::KafkaConfig).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct KafkaConfigError {
    /// The setting: `kafka_brokers`, `kafka_topic`, `kafka_auth`, or the property's own name.
    pub key: String,
    /// The fault and the remedy. Never a value that may be a secret.
    pub problem: String,
}

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
