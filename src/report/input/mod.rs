//! Where events come from, and reading them as often as one likes: a ledger, a topic, or lines.
//!
//! Every pass shows the same events: those that were there when the input was opened. An event that arrives
//! later is not shown; what retention takes away meanwhile is, if at all, only missing at the old end.

mod topic;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, copy};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::ledger::LedgerReader;
use crate::publish::KafkaConfig;
use crate::report::error::ReportError;
pub(in crate::report) use topic::Topic;

/// Rows read from a ledger in one short transaction.
pub(in crate::report) const READ_ROWS: usize = 512;

/// Name of standard input.
const STDIN: &str = "-";

/// Bytes of one line; an event is at most 1 MB, the limit of Event Hubs.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Only the owner reads usage.
const FILE_MODE: u32 = 0o600;

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

/// Where an event lies in its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum EventOrigin {
    /// Its position in the ledger.
    Position(u64),
    /// Its partition of the topic.
    Partition(i32),
    /// A line.
    Line,
}

/// An input that is open.
pub(in crate::report) enum Events {
    Ledger(LedgerEvents),
    Topic(Topic),
    Lines(File),
}

/// A ledger, as far as it had been written when it was opened.
pub(in crate::report) struct LedgerEvents {
    pub(in crate::report) reader: LedgerReader,
    /// Position of the last event.
    pub(in crate::report) last: u64,
}

impl Events {
    /// Opens an input. Standard input, a pipe and the like are copied to a temporary file without a
    /// name first, since they cannot be read twice.
    pub(in crate::report) fn open(input: &Input) -> Result<Events, ReportError> {
        Ok(match input {
            Input::Ledger(dir) => {
                let reader = LedgerReader::open(dir)?;
                let last = reader.last()?;
                Events::Ledger(LedgerEvents { reader, last })
            }
            Input::Topic(config) => Events::Topic(Topic::open(config)?),
            Input::Lines(path) if path.as_os_str() == STDIN => {
                Events::Lines(spool(&mut std::io::stdin().lock())?)
            }
            Input::Lines(path) => Events::Lines(file(path)?),
        })
    }

    /// Shows every event, given as it was stored, and every line that is not an event, as it is.
    pub(in crate::report) fn each(
        &mut self,
        mut each: impl FnMut(&str, EventOrigin),
    ) -> Result<(), ReportError> {
        match self {
            Events::Ledger(ledger) => {
                ledger.each(|position, body| each(body, EventOrigin::Position(position)))
            }
            Events::Topic(topic) => {
                topic.each(|partition, body| each(body, EventOrigin::Partition(partition)))
            }
            Events::Lines(file) => lines(file, |line| each(line, EventOrigin::Line)),
        }
    }
}

impl LedgerEvents {
    fn each(&self, mut each: impl FnMut(u64, &str)) -> Result<(), ReportError> {
        let mut after = 0;
        loop {
            let rows = self.reader.after(after, READ_ROWS)?;
            for row in rows.iter().filter(|row| row.position <= self.last) {
                each(row.position, &row.body);
            }
            match rows.last() {
                Some(last) if last.position < self.last => after = last.position,
                _ => return Ok(()),
            }
        }
    }
}

/// Shows each line that is not empty. One that is no text, or too long, is shown as nothing.
fn lines(file: &mut File, mut each: impl FnMut(&str)) -> Result<(), ReportError> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = std::str::from_utf8(&line).unwrap_or("?").trim_ascii();
        if !text.is_empty() {
            each(text);
        }
    }
}

fn file(path: &Path) -> Result<File, ReportError> {
    let named = |error| ReportError::File { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(named)?;
    if file.metadata().map_err(named)?.is_file() { Ok(file) } else { spool(&mut file) }
}

/// Everything that a stream has to say, in a file that is gone when it is closed.
fn spool(stream: &mut impl Read) -> Result<File, ReportError> {
    let path: PathBuf = std::env::temp_dir().join(format!("tokenweir-{}", Uuid::new_v4()));
    let named = |error| ReportError::File { path: path.clone(), error };
    let options = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path);
    let mut file = options.map_err(named)?;
    std::fs::remove_file(&path).map_err(named)?;
    copy(stream, &mut file).map_err(named)?;
    Ok(file)
}
