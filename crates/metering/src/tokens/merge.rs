//! The number of tokens in one piece that lies in memory.
//!
//! Most pieces are one token. The others are encoded by [`backtrack`]; if it gives up, which no text
//! is known to make it, by a [`Ring`].

use super::backtrack;
use super::ring::Ring;
use super::vocabulary::{TOKEN_BYTES_MAX, Vocabulary};

/// Up to here the current piece of a stream is held as bytes; above, as two rings of 1 KiB. Twice
/// the longest token, and longer than nearly every piece of real text.
const PIECE_BYTES_MAX: usize = 2 * TOKEN_BYTES_MAX;

/// Where one method of counting gives way to the next. The result does not depend on it; the tests
/// lower the limits so that short texts go the way of long ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodLimits {
    pub(super) backtrack_bytes_max: usize,
    pub(super) piece_bytes_max: usize,
}

impl MethodLimits {
    pub(super) const PRODUCTION: MethodLimits =
        MethodLimits { backtrack_bytes_max: usize::MAX, piece_bytes_max: PIECE_BYTES_MAX };
}

/// A vocabulary and the limits to use it with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bpe {
    pub(super) vocabulary: &'static Vocabulary,
    pub(super) limits: MethodLimits,
}

impl Bpe {
    /// Tokens of a piece; 0 for the empty one.
    #[inline(always)]
    pub(super) fn count(&self, piece: &[u8]) -> u64 {
        match piece.len() {
            0 => 0,
            1 => 1,
            _ if self.vocabulary.is_token(piece) => 1,
            _ => self.count_parts(piece),
        }
    }

    /// Tokens of a piece that is not one.
    #[inline(never)]
    fn count_parts(&self, piece: &[u8]) -> u64 {
        if piece.len() <= self.limits.backtrack_bytes_max
            && let Some(count) = backtrack::count(self.vocabulary, piece)
        {
            return count;
        }
        let mut ring = Ring::new();
        for &byte in piece {
            ring.push(self.vocabulary, byte);
        }
        ring.count()
    }
}
