//! Files as Azure leaves them: plain, or compressed with gzip whatever their name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::report::error::ReportError;

/// Bytes of one file of metrics, unpacked. It is read as a whole; a month of minutes of twenty deployments has less.
pub(super) const METRICS_BYTES_MAX: u64 = 512 << 20;

/// Bytes of one export, unpacked. It is read a row at a time; Azure parts its exports long before.
pub(super) const EXPORT_BYTES_MAX: u64 = 64 << 30;

/// How a file that is compressed with gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, unpacked; one that is too long ends at the bound.
pub(super) fn open(path: &Path, bytes_max: u64) -> Result<Box<dyn Read>, ReportError> {
    let named = |error| ReportError::File { path: path.to_owned(), error };
    let mut file = BufReader::new(File::open(path).map_err(named)?);
    let packed = file.fill_buf().map_err(named)?.starts_with(&GZIP);
    let unpacked: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(Box::new(Bounded { inner: unpacked, left: bytes_max }))
}

/// A reader that fails at its bound, so that no part is taken for the whole.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other("is too long to be read: give it in parts"))?;
        Ok(read)
    }
}

/// An error of a file's content.
pub(super) fn wrong(path: &Path, problem: impl Into<String>) -> ReportError {
    ReportError::Content { path: path.to_owned(), problem: problem.into() }
}
