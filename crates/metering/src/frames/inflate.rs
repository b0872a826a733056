//! The compressed messages of one direction: DEFLATE with a window of its own, a bounded number of bytes at a time.
//!
//! The window is kept here and not by a library, since a message may end with a last block (RFC 7692 7.2.3.4), and
//! what follows still refers to what went before.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress_with_limit};

use super::extensions::Compression;

/// The bytes that a sender leaves out at the end of each message (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes that may come out of the end of a message, whatever budget there is: its last bits, and what a broken one
/// makes of the tail. Four bytes are 32 codes of at most 258 bytes.
const TAIL_BYTES_MAX: usize = 16 << 10;

/// Smallest window that zlib makes: it takes 9 bits where 8 are agreed upon.
const WINDOW_BITS_MIN: u8 = 9;

/// It is no DEFLATE.
#[derive(Debug)]
pub(super) struct Corrupt;

/// The window of a direction, and how far its current block has come.
pub(super) struct Inflater {
    blocks: DecompressorOxide,
    /// A ring as large as the window.
    window: Box<[u8]>,
    at: usize,
    forgets: bool,
    /// More comes out of what has gone in already.
    owes: bool,
}

impl Inflater {
    pub(super) fn new(compression: Compression) -> Inflater {
        let bytes = 1_usize << compression.window_bits.max(WINDOW_BITS_MIN);
        Inflater {
            blocks: DecompressorOxide::new(),
            window: vec![0; bytes].into(),
            at: 0,
            forgets: compression.forgets,
            owes: false,
        }
    }

    /// More comes out of what has gone in already.
    pub(super) fn owes(&self) -> bool {
        self.owes
    }

    /// Takes compressed bytes for as long as `budget` lasts, and shows what comes out. Returns how many it took.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        mut out: impl FnMut(&[u8]),
    ) -> Result<usize, Corrupt> {
        let mut taken = 0;
        while *budget > 0 && (self.owes || taken < bytes.len()) {
            let (status, read, made) = decompress_with_limit(
                &mut self.blocks,
                &bytes[taken..],
                &mut self.window,
                self.at,
                *budget,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            out(&self.window[self.at..self.at + made]);
            self.at = (self.at + made) & (self.window.len() - 1);
            taken += read;
            *budget = budget.saturating_sub(made);
            self.owes = status == TINFLStatus::HasMoreOutput;
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if taken == bytes.len() => {}
                // Another block may follow the last one; what the window holds stays.
                TINFLStatus::Done => self.blocks.init(),
                _ => return Err(Corrupt),
            }
        }
        Ok(taken)
    }

    /// The message is over: all of its bytes have gone in, and nothing is owed.
    pub(super) fn end_message(&mut self, mut out: impl FnMut(&[u8])) -> Result<(), Corrupt> {
        let mut budget = TAIL_BYTES_MAX;
        self.push(&TAIL, &mut budget, &mut out)?;
        if self.owes {
            return Err(Corrupt);
        }
        if self.forgets {
            self.blocks.init();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("window_bytes", &self.window.len()).finish_non_exhaustive()
    }
}
