//! Where an event lies in its input, for whoever has to name it.

use std::fmt;
use std::path::Path;

/// Where an event lies in its input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EventOrigin<'a> {
    /// A row of a ledger.
    Ledger {
        /// The place of the ledger among those that were given.
        ledger: usize,
        dir: &'a Path,
        position: u64,
    },
    /// A row of a spool of captured content.
    Spool { dir: &'a Path, position: u64 },
    /// A message of the topic.
    Topic { partition: i32, offset: i64, stamp_ms: Option<i64> },
    /// A line of a file.
    Line { file: &'a Path, line: u64 },
    /// A message in a file of Event Hubs Capture, counted from 1.
    Captured { file: &'a Path, message: u64 },
    /// A file of which nothing, or nothing more, can be read, and why.
    File { file: &'a Path, why: &'a str },
}

impl fmt::Display for EventOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventOrigin::Ledger { dir, position, .. } => write!(f, "{} position {position}", dir.display()),
            EventOrigin::Spool { dir, position } => write!(f, "{} position {position}", dir.display()),
            EventOrigin::Topic { partition, offset, .. } => {
                write!(f, "partition {partition} offset {offset}")
            }
            EventOrigin::Line { file, line } => write!(f, "{}:{line}", file.display()),
            EventOrigin::Captured { file, message } => write!(f, "{} message {message}", file.display()),
            EventOrigin::File { file, why } => write!(f, "{}: {why}", file.display()),
        }
    }
}
