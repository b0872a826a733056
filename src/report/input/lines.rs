//! JSON lines, as `events` prints them and sinks of a topic store them.

use std::io::{self, BufRead, Read};
use std::path::Path;

use super::each_event::EachEvent;
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::omissions::OmissionReason;

/// Bytes of one line; an event is at most 1 MB, the limit of Event Hubs.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// Some editors put this before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Shows each line that is not empty.
///
/// # Errors
/// If `each` wants no more.
pub(super) fn each_line(
    reader: &mut impl BufRead,
    file: &Path,
    each: &mut EachEvent<'_>,
) -> Result<(), ReportError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        match next_line(reader, &mut bytes) {
            Ok(NextLine::Whole) => {}
            Ok(NextLine::TooLong) => {
                each(Err(OmissionReason::LineTooLong), EventOrigin::Line { file, line })?
            }
            Ok(NextLine::End) => break,
            Err(error) => {
                let reason = OmissionReason::of_read(&error);
                each(Err(reason), EventOrigin::File { file, why: &error.to_string() })?;
                break;
            }
        }
        let bytes = if line == 1 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes) } else { &bytes };
        match std::str::from_utf8(bytes).map(str::trim_ascii) {
            Ok("") => {}
            Ok(text) => each(Ok(text), EventOrigin::Line { file, line })?,
            Err(_) => each(Err(OmissionReason::NotText), EventOrigin::Line { file, line })?,
        }
    }
    Ok(())
}

enum NextLine {
    Whole,
    /// The line was too long and is passed over; `bytes` is empty.
    TooLong,
    End,
}

fn next_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<NextLine> {
    let limit = LINE_BYTES_MAX as u64 + 1;
    if reader.by_ref().take(limit).read_until(b'\n', bytes)? == 0 {
        return Ok(NextLine::End);
    }
    if bytes.len() <= LINE_BYTES_MAX || bytes.ends_with(b"\n") {
        return Ok(NextLine::Whole);
    }
    bytes.clear();
    reader.skip_until(b'\n')?;
    Ok(NextLine::TooLong)
}
