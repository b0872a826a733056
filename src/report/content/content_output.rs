//! The output of calls: lines, one side of one call, or a folder with a file of each side.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use metering::usage::ContentSide;
use smol_str::SmolStr;

use super::content_record::ContentRecord;
use super::opened_side::OpenedSide;
use super::options::ContentOutput;
use super::stored_part::StoredPart;
use crate::report::error::ReportError;

/// Only the owner reads content.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Bytes of the id of a call that a file is named after.
const ID_BYTES_MAX: usize = 64;

/// Writes calls.
pub(super) struct ContentWriter<'a, W> {
    output: &'a ContentOutput,
    out: W,
    /// The one call of which a side was written.
    written: Option<SmolStr>,
}

impl<'a, W: Write> ContentWriter<'a, W> {
    pub(super) fn new(output: &'a ContentOutput, out: W) -> Result<ContentWriter<'a, W>, ReportError> {
        if let ContentOutput::Folder(dir) = output {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir);
            made.map_err(|error| ReportError::File { path: dir.clone(), error })?;
        }
        Ok(ContentWriter { output, out, written: None })
    }

    /// Writes a call of which this is a part.
    pub(super) fn write(
        &mut self,
        part: &StoredPart,
        sides: &[Option<OpenedSide>; 2],
    ) -> Result<(), ReportError> {
        let call = &part.part.facts.call;
        match self.output {
            ContentOutput::Lines => {
                let [request, response] = sides.each_ref().map(Option::as_ref);
                let line = serde_json::to_string(&ContentRecord::new(part, request, response));
                writeln!(self.out, "{}", line.map_err(std::io::Error::from)?)?;
            }
            ContentOutput::Side(side) => {
                if self.written.replace(call.clone()).is_some_and(|written| written != *call) {
                    return Err(ReportError::SeveralCalls(call.to_string()));
                }
                if let Some(opened) = &sides[*side as usize] {
                    self.out.write_all(&opened.bytes)?;
                }
            }
            ContentOutput::Folder(dir) => {
                sides.iter().flatten().try_for_each(|side| write_file(dir, call, side.side, &side.bytes))?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ReportError> {
        Ok(self.out.flush()?)
    }
}

/// Writes a new file. The id comes from the topic, so it must be one before it is part of a path.
fn write_file(dir: &Path, call: &str, side: ContentSide, bytes: &[u8]) -> Result<(), ReportError> {
    let is_id = call.len() <= ID_BYTES_MAX && !call.is_empty();
    if !is_id || !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        let error =
            std::io::Error::new(ErrorKind::InvalidInput, "the id of a call is none, and names no file");
        return Err(ReportError::File { path: dir.to_owned(), error });
    }
    let path = dir.join(format!("{call}.{}", side.as_str()));
    let named = |error| ReportError::File { path: path.clone(), error };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path).map_err(named)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(named)
}
