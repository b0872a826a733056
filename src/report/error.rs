//! Why a program that reads a ledger or a topic failed.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::capture::SpoolError;
use crate::ledger::{OpenError, ReadError};
use crate::publish::{KafkaConfigError, StartError};
use metering::caller::WrongLines;

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of the ledgers cannot be read.
    #[error("{}", ledger_text(dir, error))]
    Ledger {
        /// Its directory.
        dir: PathBuf,
        /// The error.
        error: ReadError,
    },
    /// The ledger cannot be taken.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The spool of captured content cannot be taken.
    #[error(transparent)]
    OpenSpool(#[from] SpoolError),
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
    /// The admin port of a sidecar does not tell what is wanted.
    #[error("{0}")]
    AdminPort(String),
    /// A partition said nothing for too long before its end.
    #[error("the topic could not be read to its end: {0}")]
    Silent(String),
    /// The output cannot be written.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// A time on the command line is neither an instant nor a day.
    #[error(
        "`{0}` is no time: give a month (2026-11), a day (2026-11-22) or an instant (2026-11-22T09:00:00Z)"
    )]
    Time(String),
    /// A month on the command line is none.
    #[error("`{0}` is no month: give one such as 2026-11")]
    Month(String),
    /// An input must be read more than once, and cannot be.
    #[error("standard input can be read only once: give a file or a folder")]
    InputOnce,
    /// An earlier close cannot be gone on with.
    #[error("{path}: {problem}")]
    EarlierClose {
        /// The folder, or a file in it.
        path: PathBuf,
        /// The fault.
        problem: String,
    },
    /// A time zone on the command line is unknown.
    #[error("`{given}` is no time zone of the IANA database{}", near.as_ref().map_or(String::from(", such as Europe/Berlin"), |near| format!("; did you mean {near}?")))]
    TimeZone {
        /// The name that was given.
        given: String,
        /// A zone whose name is like it.
        near: Option<String>,
    },
    /// A key is there twice.
    #[error("`{0}` is given twice")]
    RepeatedKey(String),
    /// A number is too large for the format.
    #[error("{0}")]
    TooLarge(String),
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
    /// A file does not hold what it should.
    #[error("{path} {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it, what stands there, and what is allowed.
        problem: String,
    },
    /// A folder, or a database, is a ledger.
    #[error("{0} is a ledger; give it as --ledger {0}")]
    IsLedger(PathBuf),
    /// There are more files than are read at once.
    #[error("{path} is one of more than {max} files; give folders of fewer files, one after the other")]
    TooManyFiles {
        /// How many may be read.
        max: usize,
        /// The first beyond it.
        path: PathBuf,
    },
    /// A sum is larger than its column can hold.
    #[error("column `{column}`: the sum is larger than {} bits can hold, at {place}", bits(column))]
    Overflow {
        /// The column.
        column: &'static str,
        /// The event that was too much.
        place: String,
    },
    /// An input makes more of something than is held in memory.
    #[error("{place}: {bound}; give fewer inputs at once")]
    Unbounded {
        /// The bound.
        bound: InputBound,
        /// The event that was too much.
        place: String,
    },
    /// The spool of captured content cannot be read.
    #[error("the spool in {dir} cannot be read: {error}")]
    Spool {
        /// Its directory.
        dir: PathBuf,
        /// The error.
        error: rusqlite::Error,
    },
    /// One side of one call was asked for, and there are more.
    #[error("more than one call is meant, {0} among them: give --call ID, or --out DIR for a file of each")]
    SeveralCalls(String),
    /// There is nothing to expand.
    #[error("there are no prices")]
    NoPrices,
    /// The flat table of prices would have too many rows.
    #[error("the events have more than {0} combinations of deployment, model and what else prices depend on")]
    Combinations(usize),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
}

/// A bound of what fits the memory, which an input has crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputBound {
    /// Starts of ledgers.
    #[error("more than {0} boots of ledgers")]
    Boots(usize),
    /// Sequence numbers that lie far from all others.
    #[error("more than {0} sequence numbers lie far from all others of their boot")]
    Scattered(u64),
    /// Control events.
    #[error("more than {0} control events")]
    ControlEvents(usize),
    /// Calls whose content was captured.
    #[error("more than {0} calls whose content was captured")]
    CapturedCalls(usize),
    /// Parts of content.
    #[error("more than {0} parts of content")]
    ContentParts(usize),
    /// Ids of rows that no digest proves.
    #[error("more than {0} ids of rows that no digest proves")]
    UnprovenRows(usize),
    /// Copies of rows that came more than once.
    #[error("more than {0} copies of rows that came more than once")]
    RepeatedRows(usize),
    /// Parts of calls that are not whole yet.
    #[error("more than {0} bytes of parts of calls that are not whole")]
    OpenParts(usize),
    /// Calls whose content is read.
    #[error("more than {0} calls")]
    Calls(usize),
    /// Rows of the output.
    #[error("more than {0} rows")]
    Rows(usize),
}

/// An error that names the place, if a bound is crossed there.
pub(super) fn within_bounds(
    crossed: Option<InputBound>,
    place: impl fmt::Display,
) -> Result<(), ReportError> {
    match crossed {
        None => Ok(()),
        Some(bound) => Err(ReportError::Unbounded { bound, place: place.to_string() }),
    }
}

/// Some errors of reading a ledger name it by themselves.
fn ledger_text(dir: &Path, error: &ReadError) -> String {
    match error {
        ReadError::Absent(_) | ReadError::Foreign(_) => error.to_string(),
        error => format!("{}: {error}", dir.display()),
    }
}

/// In words, once: the error's own source says the same again.
impl From<rdkafka::error::KafkaError> for ReportError {
    fn from(error: rdkafka::error::KafkaError) -> ReportError {
        ReportError::Topic(error.to_string())
    }
}

/// Amounts have more of them than numbers of tokens and units.
fn bits(column: &str) -> u32 {
    if column.starts_with("cost") { u128::BITS } else { u64::BITS }
}
