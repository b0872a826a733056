//! The number of tokens in one piece that lies in memory.
//!
//! Most pieces are one token. Short ones are encoded by the book, on the stack. Long ones go through
//! a [`Ring`], because joining by the book takes time that grows with the square of the length.

use super::ring::Ring;
use super::vocabulary::{Rank, TOKEN_BYTES_MAX, Vocabulary};

/// Up to here a piece is joined on the stack; above, the ring is quicker.
const MERGE_BYTES_MAX: usize = 48;

/// Up to here the current piece of a stream is held as bytes; above, as two rings of 1 KiB. Twice
/// the longest token, and longer than nearly every piece of real text.
const PIECE_BYTES_MAX: usize = 2 * TOKEN_BYTES_MAX;

/// Where one method of counting gives way to the next. The result does not depend on it; the tests
/// lower the limits so that short texts go the way of long ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) merge_bytes_max: u16,
    pub(super) piece_bytes_max: u16,
}

impl Limits {
    pub(super) const PRODUCTION: Limits =
        Limits { merge_bytes_max: MERGE_BYTES_MAX as u16, piece_bytes_max: PIECE_BYTES_MAX as u16 };
}

/// A vocabulary and the limits to use it with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bpe {
    pub(super) vocabulary: &'static Vocabulary,
    pub(super) limits: Limits,
}

impl Bpe {
    /// Tokens of a piece; 0 for the empty one.
    #[inline(always)]
    pub(super) fn count(&self, piece: &[u8]) -> u64 {
        match piece.len() {
            0 => 0,
            1 => 1,
            _ if self.vocabulary.rank(piece).is_some() => 1,
            _ => self.count_parts(piece),
        }
    }

    /// Tokens of a piece that is not one.
    #[inline(never)]
    fn count_parts(&self, piece: &[u8]) -> u64 {
        if piece.len() <= MERGE_BYTES_MAX.min(usize::from(self.limits.merge_bytes_max)) {
            return merge(self.vocabulary, piece) as u64;
        }
        let mut ring = Ring::new();
        for &byte in piece {
            ring.push(self.vocabulary, byte);
        }
        ring.count()
    }
}

/// No token: these neighbours are not joined.
const NONE: Rank = Rank::MAX;

/// Byte pair encoding by the book, for 2 to [`MERGE_BYTES_MAX`] bytes. `tokens` holds the text as it
/// stands; `joins[i]` what `tokens[i]` and its right neighbour make.
fn merge(vocabulary: &Vocabulary, piece: &[u8]) -> usize {
    let mut tokens = [0; MERGE_BYTES_MAX];
    let mut joins = [NONE; MERGE_BYTES_MAX];
    let mut len = piece.len();
    let join = |left, right| vocabulary.joined(left, right).unwrap_or(NONE);

    for (token, &byte) in tokens.iter_mut().zip(piece) {
        *token = vocabulary.byte_rank(byte);
    }
    for at in 0..len - 1 {
        joins[at] = join(tokens[at], tokens[at + 1]);
    }
    loop {
        let (at, best) = leftmost_least(&joins[..len - 1]);
        if best == NONE {
            return len;
        }
        tokens[at] = best;
        tokens.copy_within(at + 2..len, at + 1);
        joins.copy_within(at + 1..len, at);
        len -= 1;
        if at > 0 {
            joins[at - 1] = join(tokens[at - 1], best);
        }
        if at + 1 < len {
            joins[at] = join(best, tokens[at + 1]);
        }
    }
}

/// The least of the ranks and the first place where it stands; `NONE` for no ranks.
#[inline(always)]
fn leftmost_least(ranks: &[Rank]) -> (usize, Rank) {
    let mut least = (0, NONE);
    for (at, &rank) in ranks.iter().enumerate() {
        if rank < least.1 {
            least = (at, rank);
        }
    }
    least
}
