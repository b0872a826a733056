//! Files of events: JSON lines, compressed with gzip or not, and Avro files of Event Hubs Capture.
//!
//! A part that cannot be read is left out and said; it ends nothing but its own line, message or file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Cursor, Read, Seek, copy};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use uuid::Uuid;

use super::bar::ReadingBar;
use super::each_event::{EachEvent, Passes};
use super::kind::{FileKind, HEAD_BYTES};
use super::lines;
use super::walk::{FoundFile, FoundFiles, files_of};
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::omissions::OmissionReason;

/// Only the owner reads usage.
const FILE_MODE: u32 = 0o600;

/// Bytes read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// Files that are open, or can be opened.
pub(crate) struct FileEvents {
    found: FoundFiles,
    /// Copies of those that cannot be read twice, by their place among the files.
    spooled: Vec<(usize, File)>,
}

impl FileEvents {
    /// Finds the files. If they are read more than once, standard input, pipes and the like are copied to a temporary
    /// file without a name first.
    pub(super) fn open<'a>(
        arguments: impl Iterator<Item = &'a Path>,
        passes: Passes,
    ) -> Result<FileEvents, ReportError> {
        let mut events = FileEvents { found: files_of(arguments)?, spooled: Vec::new() };
        if passes == Passes::Several {
            for (at, file) in events.found.files.iter_mut().enumerate() {
                if let Some(copy) = spooled(file)? {
                    file.bytes = copy.metadata().map_or(0, |metadata| metadata.len());
                    events.spooled.push((at, copy));
                }
            }
        }
        Ok(events)
    }

    /// Takes the notes on files that were given twice.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.found.notes)
    }

    /// Shows every event, and whatever cannot be read.
    pub(super) fn each(&mut self, bar: &ReadingBar, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
        for (file, why) in &self.found.unreadable {
            each(Err(OmissionReason::Unreadable), EventOrigin::File { file, why })?;
        }
        bar.begin_bytes(self.found.files.iter().map(|file| file.bytes).sum());
        for (at, file) in self.found.files.iter().enumerate() {
            bar.name(&file.shown());
            let spooled = self.spooled.iter_mut().find(|(place, _)| *place == at);
            let opened: io::Result<Box<dyn Read>> = match spooled {
                Some((_, copy)) => copy.rewind().map(|()| Box::new(copy) as Box<dyn Read>),
                None if file.is_stdin() => Ok(Box::new(io::stdin().lock())),
                None => File::open(&file.path).map(|file| Box::new(file) as Box<dyn Read>),
            };
            match opened {
                Ok(reader) => of_kind(bar.counted(reader), &file.path, each)?,
                Err(error) => {
                    let origin = EventOrigin::File { file: &file.path, why: &error.to_string() };
                    each(Err(OmissionReason::Unreadable), origin)?;
                }
            }
        }
        Ok(())
    }
}

/// Shows the events of a file, whose kind its first bytes tell; those of a compressed one tell that of what is in it.
fn of_kind(reader: impl Read, file: &Path, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
    let (kind, reader) = match told(reader, file, each)? {
        Some((FileKind::Gzip, reader)) => {
            let decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, reader));
            let Some((kind, reader)) = told(decoder, file, each)? else { return Ok(()) };
            (kind, Box::new(reader) as Box<dyn Read + '_>)
        }
        Some((kind, reader)) => (kind, Box::new(reader) as Box<dyn Read + '_>),
        None => return Ok(()),
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let other = |why: &str, each: &mut EachEvent<'_>| {
        each(Err(OmissionReason::UnknownFormat), EventOrigin::File { file, why })
    };
    match kind {
        FileKind::Lines => lines::each_line(&mut reader, file, each),
        #[cfg(feature = "avro")]
        FileKind::Avro => super::capture::each_message(reader, file, each),
        #[cfg(not(feature = "avro"))]
        FileKind::Avro => other("Avro, which this build cannot read (feature `avro`)", each),
        FileKind::Gzip => other("compressed twice", each),
        FileKind::Other(what) => other(what, each),
    }
}

/// A reader that begins with what has been read of it.
type WithHead<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The kind of a file, and a reader that begins where it does; `None` if not even its beginning can be read.
fn told<R: Read>(
    mut reader: R,
    file: &Path,
    each: &mut EachEvent<'_>,
) -> Result<Option<(FileKind, WithHead<R>)>, ReportError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    match reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head) {
        Ok(_) => Ok(Some((FileKind::of(&head), Cursor::new(head).chain(reader)))),
        Err(error) => {
            let reason = OmissionReason::of_read(&error);
            each(Err(reason), EventOrigin::File { file, why: &error.to_string() })?;
            Ok(None)
        }
    }
}

/// A copy of what cannot be read twice.
fn spooled(file: &FoundFile) -> Result<Option<File>, ReportError> {
    if file.is_stdin() {
        return spool(&mut io::stdin().lock()).map(Some);
    }
    let named = |error| ReportError::File { path: file.path.clone(), error };
    if file.path.metadata().map_err(named)?.is_file() {
        return Ok(None);
    }
    spool(&mut File::open(&file.path).map_err(named)?).map(Some)
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
