//! Compresses blocks: each becomes a zstd frame of its own, and frames one after the other are zstd again (RFC 8878,
//! section 3.1), so nothing of a block is held uncompressed.

use std::io;

use bytes::Bytes;
use zeroize::Zeroize;
use zstd::bulk;

/// A stream of events shrinks to a twentieth at this level, at 1 GB/s; a higher one is slower than the network.
const LEVEL: i32 = 1;

/// A frame without content: magic number, a single segment of no bytes, and one last raw block of none.
const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// The compressor of a thread.
pub(super) struct BlockCompressor {
    zstd: bulk::Compressor<'static>,
    /// The pieces of a block that has several.
    joined: Vec<u8>,
}

impl BlockCompressor {
    pub(super) fn new() -> io::Result<BlockCompressor> {
        Ok(BlockCompressor { zstd: bulk::Compressor::new(LEVEL)?, joined: Vec::new() })
    }

    /// Appends the frame of a block.
    pub(super) fn compress(&mut self, pieces: &[Bytes], frames: &mut Vec<u8>) -> io::Result<()> {
        match pieces {
            [] => Ok(()),
            [piece] => self.compress_one(piece, frames),
            pieces => {
                let mut joined = std::mem::take(&mut self.joined);
                pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                let compressed = self.compress_one(&joined, frames);
                // Nothing of what was said stays behind; this also empties it.
                joined.zeroize();
                self.joined = joined;
                compressed
            }
        }
    }

    /// Makes the frames of a part whole: one without bytes has a frame too, so that it is zstd.
    pub(super) fn close(&self, frames: &mut Vec<u8>) {
        if frames.is_empty() {
            frames.extend_from_slice(&EMPTY_FRAME);
        }
    }

    fn compress_one(&mut self, block: &[u8], frames: &mut Vec<u8>) -> io::Result<()> {
        if block.is_empty() {
            return Ok(());
        }
        let mut frame = self.zstd.compress(block)?;
        frames.extend_from_slice(&frame);
        // A block that does not shrink stands in its frame as it is.
        frame.zeroize();
        Ok(())
    }
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
            let (mut compressor, mut frames) = (BlockCompressor::new().unwrap(), Vec::new());
            for block in &blocks {
                let pieces: Vec<Bytes> = block.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
                compressor.compress(&pieces, &mut frames).unwrap();
            }
            compressor.close(&mut frames);
            prop_assert!(!frames.is_empty());
            prop_assert_eq!(zstd::decode_all(&*frames).unwrap(), blocks.concat().concat());
        }
    }
}
