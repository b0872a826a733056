//! Bytes of a stream that are kept for later, counted by the memory they hold.
//!
//! A view pins the whole read buffer that it was cut from. A view of half a buffer or more is kept
//! as it is and counted as a whole buffer, so a large prompt is never copied; a smaller one is
//! copied into blocks of our own, so a body that arrives byte by byte costs what it weighs.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The largest read buffer of a client's side. A large prompt costs the reads and writes that
/// it takes, each of which wakes a task: with 64 KiB a megabyte takes 21 of each, with this 5. A body
/// that is not kept takes as much memory, and may take 256 kB.
pub const REQUEST_READ_BYTES_MAX: usize = 240 * 1024;

/// The largest read buffer of the service's side.
pub const RESPONSE_READ_BYTES_MAX: usize = 64 * 1024;

/// First block of copied bytes: the usual small request fits.
const BLOCK_BYTES_MIN: usize = 1024;

/// Later blocks, unless a piece is longer: the room that is left in the last one is pinned for nothing.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Bytes in order, and what they pin.
#[derive(Debug)]
pub struct PinnedBytes {
    /// The largest read buffer that they come from: one view can pin so much.
    read_bytes_max: usize,
    pieces: Vec<Bytes>,
    /// Bytes of the pieces.
    pieces_bytes: usize,
    block: BytesMut,
    pinned_bytes: usize,
}

impl PinnedBytes {
    /// Nothing yet, of what is read into buffers of up to so many bytes.
    pub fn new(read_bytes_max: usize) -> PinnedBytes {
        PinnedBytes {
            read_bytes_max,
            pieces: Vec::new(),
            pieces_bytes: 0,
            block: BytesMut::new(),
            pinned_bytes: 0,
        }
    }

    /// Bytes that are kept.
    pub fn len(&self) -> usize {
        self.pieces_bytes + self.block.len()
    }

    /// Bytes that [`PinnedBytes::copy`] takes without more memory.
    pub fn room_bytes(&self) -> usize {
        self.block.capacity() - self.block.len()
    }

    /// How much more memory [`PinnedBytes::push`] of so many bytes would pin.
    pub fn cost_bytes(&self, len: usize) -> usize {
        match len {
            _ if len >= self.view_bytes_min() => self.read_bytes_max.max(len),
            _ if len <= self.room_bytes() => 0,
            _ => self.block_bytes(len),
        }
    }

    /// Views of this size are kept, smaller ones are copied: at most half of what is counted is air.
    fn view_bytes_min(&self) -> usize {
        self.read_bytes_max / 2
    }

    /// Size of the next block: as much as is held already, up to a bound, so that there are few.
    fn block_bytes(&self, len: usize) -> usize {
        self.pinned_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).max(len)
    }

    /// Keeps these bytes.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() < self.view_bytes_min() {
            return self.copy(&bytes);
        }
        self.pinned_bytes += self.cost_bytes(bytes.len());
        self.close_block();
        self.keep(bytes);
    }

    /// Keeps a part of these bytes.
    pub fn push_part(&mut self, bytes: &Bytes, part: Range<usize>) {
        if part.len() < self.view_bytes_min() {
            self.copy(&bytes[part])
        } else {
            self.push(bytes.slice(part))
        }
    }

    /// Keeps a copy of these bytes.
    pub fn copy(&mut self, bytes: &[u8]) {
        if self.room_bytes() < bytes.len() {
            let next_bytes = self.block_bytes(bytes.len());
            self.close_block();
            self.block = BytesMut::with_capacity(next_bytes);
            self.pinned_bytes += next_bytes;
        }
        self.block.extend_from_slice(bytes);
    }

    /// Ends the block; what room it had left stays pinned, and counted.
    fn close_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            self.keep(block.freeze());
        }
    }

    fn keep(&mut self, piece: Bytes) {
        self.pieces_bytes += piece.len();
        self.pieces.push(piece);
    }

    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that it pins.
    pub fn pinned_bytes(&self) -> usize {
        self.pinned_bytes
    }

    /// Views of all pieces, in order. Each pins its piece for as long as it lives.
    pub fn views(&mut self) -> Vec<Bytes> {
        self.close_block();
        self.pieces.clone()
    }

    /// All pieces, in order, and what they pin together.
    pub fn take(&mut self) -> (Vec<Bytes>, usize) {
        self.close_block();
        self.pieces_bytes = 0;
        (std::mem::take(&mut self.pieces), std::mem::take(&mut self.pinned_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back_in_order_and_cost_what_was_said(
            sizes in prop::collection::vec(prop_oneof![1usize..50, 1usize..5000, 30_000usize..66_000], 0..60)
        ) {
            let (mut kept, mut all, mut said) = (PinnedBytes::new(64 << 10), Vec::new(), 0);
            for (n, &size) in sizes.iter().enumerate() {
                let piece = Bytes::from(vec![n as u8; size]);
                said += kept.cost_bytes(size);
                all.extend_from_slice(&piece);
                kept.push(piece);
                prop_assert_eq!((kept.len(), kept.pinned_bytes()), (all.len(), said));
                let room = kept.room_bytes().min(kept.view_bytes_min() - 1);
                prop_assert!(kept.cost_bytes(room) == 0 && kept.cost_bytes(room + 1) > 0);
            }
            prop_assert_eq!(kept.is_empty(), sizes.is_empty());
            prop_assert_eq!((kept.views().concat(), kept.pinned_bytes()), (all.clone(), said));
            let (pieces, pinned) = kept.take();
            prop_assert_eq!(pieces.concat(), all.clone());
            prop_assert_eq!(pinned, said);
            prop_assert!(pinned >= all.len(), "less than the bytes themselves");
            prop_assert!(kept.is_empty() && kept.pinned_bytes() == 0);
        }
    }

    #[test]
    fn a_body_that_comes_byte_by_byte_costs_little_more_than_it_weighs() {
        let mut kept = PinnedBytes::new(REQUEST_READ_BYTES_MAX);
        for _ in 0..1_000_000 {
            kept.push(Bytes::from_static(b"x"));
        }
        assert!(kept.pinned_bytes() < 1_100_000, "{}", kept.pinned_bytes());
    }
}
