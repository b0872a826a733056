//! Why a program that reads a ledger or a topic failed.

use std::path::PathBuf;

use crate::ledger::{OpenError, ReadError};
use crate::publish::{KafkaConfigError, StartError};
use metering::caller::WrongLines;

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger cannot be taken.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The publisher cannot start.
    #[error(transparent)]
    Publish(#[from] StartError),
    /// The Kafka settings are wrong.
    #[error(transparent)]
    Config(#[from] KafkaConfigError),
    /// The topic cannot be read.
    #[error("the topic cannot be read: {0}")]
    Topic(String),
    /// No broker answers.
    #[error("{0}")]
    NoAnswer(String),
    /// A partition said nothing for too long before its end.
    #[error("the topic could not be read to its end: {0}")]
    Silent(String),
    /// The output cannot be written.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// A time on the command line is neither an instant nor a day.
    #[error("`{0}` is no time: give a day (2026-11-22) or an instant (2026-11-22T09:00:00Z)")]
    Time(String),
    /// A key on the command line is unknown.
    #[error("`{given}` is no key: {known}")]
    Key {
        /// The text that was given.
        given: String,
        /// The keys that there are.
        known: String,
    },
    /// Lines of a file of prices are wrong.
    #[error("{path} {wrong}")]
    Prices {
        /// The file.
        path: PathBuf,
        /// The lines, and what is wrong with each.
        wrong: WrongLines,
    },
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
}

/// In words, once: the error's own source says the same again.
impl From<rdkafka::error::KafkaError> for ReportError {
    fn from(error: rdkafka::error::KafkaError) -> ReportError {
        ReportError::Topic(error.to_string())
    }
}
