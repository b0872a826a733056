//! Undoes the compression of a part: frames of zstd, one after the other, within a bound.

use std::io::{self, Read};

/// Bytes of a part, as they passed: no setting makes larger ones, so what claims more is none of ours.
pub(super) const PART_BYTES_MAX: u64 = 1 << 20;

/// Largest window of zstd, as a power of two: a part is smaller, and so is what its frames need.
const WINDOW_LOG_MAX: u32 = 20;

/// The bytes, of which there are at most so many, and one more where there would be more.
///
/// # Errors
/// If they are no frames of zstd, or are cut.
pub(super) fn decompressed(compressed: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    if compressed.is_empty() {
        return Ok(plain);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut plain)?;
    Ok(plain)
}
