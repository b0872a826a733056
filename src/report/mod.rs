//! The programs behind `events`, `report`, `verify` and `drain`: they show people what a ledger or a topic
//! holds.
//!
//! | file | what it holds |
//! |---|---|
//! | `input` | where events come from, as often as one likes |
//! | `events` | stored events as JSON lines |
//! | `verify` | the proof that nothing is missing |
//! | `tally` | events added up by keys |
//! | `prices` | what tokens cost |
//! | `topic` | a topic from its beginning to its end |
//! | `render` | a tally as a table, CSV or JSON |
//! | `drain` | publishing what a dead instance left |
//! | `progress` | how far that has come |

mod drain;
mod events;
mod input;
mod prices;
mod progress;
mod render;
mod tally;
mod topic;
mod verify;

use std::path::PathBuf;

use jiff::Timestamp;

use crate::ledger::{OpenError, ReadError};
use crate::publish::{KafkaConfig, KafkaConfigError, StartError};
use metering::caller::WrongLines;

use input::Events;

pub use drain::{DrainOptions, Drained, Draining, drain};
pub use events::{EventsOptions, events};
pub use prices::{Amount, PRICES_HELP, Prices};
pub use progress::Progress;
pub use render::Format;
pub use tally::{GroupBy, Report, ReportLine, ReportSums};
pub use verify::{BootLine, BootState, Finding, FindingKind, Verdict, VerdictFormat, VerifyOptions, verify};

/// Rows read from a ledger in one short transaction.
const READ_ROWS: usize = 512;

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
    #[error("`{0}` is no key: caller, model, deployment, day, department, cost_center, outcome")]
    Key(String),
    /// An output format on the command line is unknown.
    #[error("`{0}` is no format: table, csv, json")]
    Format(String),
    /// As before, of `verify`.
    #[error("`{0}` is no format: table, json")]
    VerdictFormat(String),
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

/// Where events come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A ledger's directory.
    Ledger(PathBuf),
    /// A topic, from its beginning to the end seen at start.
    Topic(KafkaConfig),
    /// Events as JSON lines, as `events` prints them; `-` is standard input.
    Lines(PathBuf),
}

/// The report that is asked for.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where events come from.
    pub input: Input,
    /// By what to add up.
    pub by: Vec<GroupBy>,
    /// Events whose `time` is this or later.
    pub from: Option<Timestamp>,
    /// Events whose `time` is earlier than this.
    pub to: Option<Timestamp>,
    /// The prices of tokens; without them no cost is reported.
    pub prices: Option<Prices>,
}

/// Adds up usage. Every event counts once by (`source`, `id`), whatever its number of copies;
/// calls that were `rejected` do not count; sums of calls that were never stored one by one do.
///
/// # Errors
/// If the input cannot be read to its end.
pub fn report(options: &ReportOptions) -> Result<Report, ReportError> {
    let mut tally = tally::Tally::new(options);
    Events::open(&options.input)?.each(|body, _| tally.add(body))?;
    Ok(tally.finish())
}

/// The instant that a `--from` or `--to` means: RFC 3339, or a day, which begins at midnight UTC.
///
/// # Errors
/// If it is neither.
pub fn parse_time(text: &str) -> Result<Timestamp, ReportError> {
    let instant = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
    instant.map_err(|_| ReportError::Time(text.to_owned()))
}
