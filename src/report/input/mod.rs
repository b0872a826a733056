//! Where events come from, and reading them as often as one likes: ledgers, a topic, files.
//!
//! Every pass shows the same events: those that were there when the inputs were opened. An event that arrives
//! later is not shown; what retention takes away meanwhile is, if at all, only missing at the old end.
//!
//! | file | what it holds |
//! |---|---|
//! | `each_event` | how events are shown, and how often they are read |
//! | `ledger` | the events of a ledger |
//! | `spool` | the parts in a spool of captured content |
//! | `topic` | the events of a topic |
//! | `files` | the events of files, folders and standard input |
//! | `walk` | the files that arguments name |
//! | `kind` | the kind of a file, by how it begins |
//! | `lines` | JSON lines |
//! | `capture` | Avro files of Event Hubs Capture |
//! | `bar` | how far reading has come |

mod bar;
#[cfg(feature = "avro")]
mod capture;
mod each_event;
mod files;
mod kind;
mod ledger;
mod lines;
mod spool;
mod topic;
mod walk;

use std::path::{Path, PathBuf};

use crate::publish::KafkaConfig;
use crate::report::error::ReportError;
use bar::ReadingBar;
use files::FileEvents;
use spool::SpoolParts;

pub(crate) use each_event::{EachEvent, Passes};
pub(crate) use ledger::{LedgerEvents, READ_ROWS};
pub(crate) use topic::{QUESTION, Topic, partitions, topic_consumer};

/// Where events come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A ledger's directory.
    Ledger(PathBuf),
    /// A directory with a spool of captured content.
    Spool(PathBuf),
    /// A topic, from its beginning to the end seen at start.
    Topic(KafkaConfig),
    /// A file of events, a folder of such files, or `-`, which is standard input. Files are JSON lines, as `events`
    /// prints them, or Avro as Event Hubs Capture writes it, either of them compressed with gzip or not.
    Files(PathBuf),
}

/// Inputs that are open.
pub(crate) struct Events {
    pub(crate) ledgers: Vec<LedgerEvents>,
    pub(crate) topics: Vec<Topic>,
    spools: Vec<SpoolParts>,
    files: Option<FileEvents>,
    /// Notes on inputs that were given twice.
    pub(crate) notes: Vec<String>,
    bar: ReadingBar,
}

impl Events {
    /// Opens inputs.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub(crate) fn open(inputs: &[Input], passes: Passes) -> Result<Events, ReportError> {
        let mut events = Events {
            ledgers: Vec::new(),
            topics: Vec::new(),
            spools: Vec::new(),
            files: None,
            notes: Vec::new(),
            bar: ReadingBar::new(),
        };
        let mut files: Vec<&Path> = Vec::new();
        for input in inputs {
            match input {
                Input::Ledger(dir) => events.ledger(dir)?,
                Input::Spool(dir) => events.spools.push(SpoolParts::open(dir)?),
                Input::Topic(config) => events.topics.push(Topic::open(config)?),
                Input::Files(path) => files.push(path),
            }
        }
        if !files.is_empty() {
            let mut files = FileEvents::open(files.into_iter(), passes)?;
            events.notes.append(&mut files.take_notes());
            events.files = Some(files);
        }
        Ok(events)
    }

    fn ledger(&mut self, dir: &Path) -> Result<(), ReportError> {
        if self.ledgers.iter().any(|ledger| ledger.dir == dir) {
            self.notes.push(format!("ledger {} is given twice: it is read once", dir.display()));
            return Ok(());
        }
        self.ledgers.push(LedgerEvents::open(dir)?);
        Ok(())
    }

    /// Files are among the inputs.
    pub(crate) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Spools are among the inputs.
    pub(crate) fn has_spools(&self) -> bool {
        !self.spools.is_empty()
    }

    /// Shows every event, given as it was stored, and whatever lies there and is none.
    ///
    /// # Errors
    /// If a ledger or a topic cannot be read to its end, or `each` wants no more.
    pub(crate) fn each(&mut self, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
        for (number, ledger) in self.ledgers.iter().enumerate() {
            ledger.each(number, &self.bar, each)?;
        }
        for spool in &self.spools {
            spool.each(&self.bar, each)?;
        }
        for topic in &self.topics {
            topic.each(&self.bar, each)?;
        }
        if let Some(files) = &mut self.files {
            files.each(&self.bar, each)?;
        }
        self.bar.finish();
        Ok(())
    }
}
