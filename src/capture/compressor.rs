//! Compresses blocks: each becomes a zstd frame of its own, and frames one after the other are zstd again (RFC 8878,
//! section 3.1), so nothing of a block is held uncompressed.

use std::io;

use bytes::Bytes;
use zeroize::{Zeroizing, optimization_barrier};
use zstd::bulk;
use zstd::zstd_safe::compress_bound;

/// A stream of events shrinks to a twentieth at this level, at 1 GB/s; a higher one is slower than the network.
const LEVEL: i32 = 1;

/// A frame without content: magic number, a single segment of no bytes, and one last raw block of none.
const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// The compressor of a thread. It wipes what it used as soon as it has used it, and no more than that.
pub(super) struct BlockCompressor {
    zstd: bulk::Compressor<'static>,
    /// The pieces of a block that has several.
    joined: Vec<u8>,
    /// Room for the frame of a block.
    frame: Vec<u8>,
}

impl BlockCompressor {
    pub(super) fn new() -> io::Result<BlockCompressor> {
        Ok(BlockCompressor { zstd: bulk::Compressor::new(LEVEL)?, joined: Vec::new(), frame: Vec::new() })
    }

    /// Appends the frame of a block.
    pub(super) fn compress(&mut self, pieces: &[Bytes], frames: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
        match pieces {
            [] => Ok(()),
            [piece] => self.compress_one(piece, frames),
            pieces => {
                let mut joined = std::mem::take(&mut self.joined);
                // At once, so that nothing is left where it was too small.
                joined.reserve(pieces.iter().map(Bytes::len).sum());
                pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                let compressed = self.compress_one(&joined, frames);
                wipe(&mut joined);
                joined.clear();
                self.joined = joined;
                compressed
            }
        }
    }

    /// Makes the frames of a part whole: one without bytes has a frame too, so that it is zstd.
    pub(super) fn close(&self, frames: &mut Zeroizing<Vec<u8>>) {
        if frames.is_empty() {
            frames.extend_from_slice(&EMPTY_FRAME);
        }
    }

    fn compress_one(&mut self, block: &[u8], frames: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
        if block.is_empty() {
            return Ok(());
        }
        let bound = compress_bound(block.len());
        if self.frame.len() < bound {
            self.frame.resize(bound, 0);
        }
        let frame = &mut self.frame[..bound];
        let compressed = self.zstd.compress_to_buffer(block, frame);
        if let Ok(bytes) = compressed {
            append(frames, &frame[..bytes]);
        }
        // A block that does not shrink stands in its frame as it is, and behind a frame may be what was tried first.
        wipe(frame);
        compressed.map(drop)
    }
}

/// Appends bytes, and leaves no copy behind where the buffer has to move.
fn append(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if buffer.capacity() - buffer.len() < bytes.len() {
        let mut larger = Vec::with_capacity((buffer.len() + bytes.len()).next_power_of_two());
        larger.extend_from_slice(buffer);
        *buffer = Zeroizing::new(larger);
    }
    buffer.extend_from_slice(bytes);
}

/// Wipes what was used of a buffer that is used again: as fast as memory can be set, which `Zeroize` is not.
fn wipe(used: &mut [u8]) {
    used.fill(0);
    optimization_barrier(used);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_blocks_and_pieces_become_the_bytes_that_passed(
            blocks in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5), 0..8)
        ) {
            let (mut compressor, mut frames) = (BlockCompressor::new().unwrap(), Zeroizing::default());
            for block in &blocks {
                let pieces: Vec<Bytes> = block.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
                compressor.compress(&pieces, &mut frames).unwrap();
                prop_assert!(compressor.joined.is_empty() && compressor.frame.iter().all(|&byte| byte == 0));
            }
            compressor.close(&mut frames);
            prop_assert!(!frames.is_empty());
            prop_assert_eq!(zstd::decode_all(&**frames).unwrap(), blocks.concat().concat());
        }
    }
}
