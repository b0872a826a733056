//! The tables of one vocabulary, made once from the list of its tokens.
//!
//! Byte pair encoding starts from single bytes and again and again joins the two neighbours whose
//! joined bytes are the token of the lowest rank, the leftmost first among equals. A count needs to
//! know: is this piece a token (most are)? Which token do two neighbours make? Which two parts was
//! a token made of? May two tokens stand side by side in a result? And, for long pieces, which
//! tokens end here? ([`Suffixes`]).

use std::fmt;

use super::memo::Memo;
use super::packed::PackedMap;
use super::suffixes::Suffixes;

/// Bytes of the longest token in both vocabularies. What looks back over a piece need not look
/// further than this.
pub(super) const TOKEN_BYTES_MAX: usize = 128;

/// The place of a token in its vocabulary; a lower rank is joined earlier.
pub(super) type Rank = u32;

/// Why a list of tokens is not a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VocabularyError {
    #[error("the list of tokens is cut short or too long")]
    Length,
    #[error("token {0} is empty or longer than {TOKEN_BYTES_MAX} bytes")]
    TokenLength(Rank),
    #[error("byte {0} is not a token")]
    MissingByte(u8),
    /// Joining by rank never arrives at this token, so it could not encode to itself.
    #[error("token {0} is not made of two tokens of lower rank")]
    Unreachable(Rank),
}

/// All tables of one encoding.
pub(super) struct Vocabulary {
    tokens: Tokens,
    ranks: RankTable,
    byte_ranks: [Rank; 256],
    /// The token that two neighbours make.
    joined: PackedMap,
    /// The two tokens that a token was made of; a single byte was made of itself.
    parts: Vec<(Rank, Rank)>,
    pub(super) suffixes: Suffixes,
    memo: Memo,
}

impl Vocabulary {
    /// Reads the flat list that `build.rs` writes and makes the tables. Every token is proved to be
    /// one that joining by rank arrives at: the method for long pieces relies on it.
    pub(super) fn from_flat(list: &[u8]) -> Result<Vocabulary, VocabularyError> {
        let tokens = Tokens::from_flat(list)?;
        let ranks = RankTable::new(&tokens);
        let mut byte_ranks = [0; 256];
        for byte in 0..=u8::MAX {
            byte_ranks[usize::from(byte)] =
                ranks.get(&tokens, &[byte]).ok_or(VocabularyError::MissingByte(byte))?;
        }
        let suffixes = Suffixes::new(&tokens);
        let mut vocabulary = Vocabulary {
            joined: PackedMap::with_room_for(tokens.count()),
            parts: Vec::with_capacity(tokens.count()),
            tokens,
            ranks,
            byte_ranks,
            suffixes,
            memo: Memo::new(),
        };
        for rank in 0..vocabulary.tokens.count() as Rank {
            let parts = vocabulary.find_parts(rank).ok_or(VocabularyError::Unreachable(rank))?;
            vocabulary.parts.push(parts);
            if parts != (rank, rank) {
                vocabulary.joined.insert(pair(parts.0, parts.1), rank);
            }
        }
        Ok(vocabulary)
    }

    /// The two tokens that the last join makes `rank` of, given the tables for all lower ranks.
    ///
    /// They are the pair of lower tokens that covers the bytes and may stand side by side: the lower
    /// ranks alone encode the bytes to exactly this pair, and an encoding is unique.
    fn find_parts(&self, rank: Rank) -> Option<(Rank, Rank)> {
        let bytes = self.tokens.bytes(rank);
        if bytes.len() == 1 {
            return Some((rank, rank));
        }
        self.suffixes.shorter(rank).filter(|&right| right < rank).find_map(|right| {
            let left = self.rank(&bytes[..bytes.len() - self.tokens.len(right)])?;
            (left < rank && self.fits(left, right)).then_some((left, right))
        })
    }

    /// The rank of a whole piece, if it is a token.
    #[inline(always)]
    pub(super) fn rank(&self, piece: &[u8]) -> Option<Rank> {
        if piece.len() > TOKEN_BYTES_MAX { None } else { self.ranks.get(&self.tokens, piece) }
    }

    #[inline(always)]
    pub(super) fn byte_rank(&self, byte: u8) -> Rank {
        self.byte_ranks[usize::from(byte)]
    }

    /// Bytes of a token.
    #[inline(always)]
    pub(super) fn token_len(&self, rank: Rank) -> usize {
        self.tokens.len(rank)
    }

    /// The token that two neighbours make.
    #[inline(always)]
    pub(super) fn joined(&self, left: Rank, right: Rank) -> Option<Rank> {
        self.joined.get(pair(left, right))
    }

    /// May `right` stand after `left` in the encoding of their bytes?
    #[inline(always)]
    pub(super) fn may_follow(&self, left: Rank, right: Rank) -> bool {
        self.memo.get(left, right, || self.fits(left, right))
    }

    /// See [`Vocabulary::may_follow`].
    ///
    /// Takes the joins that made the two apart again, the newest first, and asks at each step
    /// whether the neighbours at the seam would have been joined before the join just undone. A
    /// join of equal rank came earlier if it lies further left.
    fn fits(&self, mut left: Rank, mut right: Rank) -> bool {
        // A join at the seam comes too early if its rank is below this.
        let mut too_early = Rank::MAX;
        loop {
            if self.joined(left, right).is_some_and(|rank| rank < too_early) {
                return false;
            }
            let left_end = self.parts[left as usize].1;
            let right_start = self.parts[right as usize].0;
            let (left_is_byte, right_is_byte) = (left_end == left, right_start == right);
            if left_is_byte && right_is_byte {
                return true;
            }
            if !left_is_byte && (left > right || right_is_byte) {
                too_early = left;
                left = left_end;
            } else {
                too_early = right + 1;
                right = right_start;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("tokens", &self.tokens.count()).finish_non_exhaustive()
    }
}

#[inline(always)]
fn pair(left: Rank, right: Rank) -> u64 {
    u64::from(left) << 18 | u64::from(right)
}

/// The bytes of all tokens in rank order.
pub(super) struct Tokens {
    bytes: Box<[u8]>,
    /// Where each token begins, and where the last one ends.
    starts: Box<[u32]>,
}

impl Tokens {
    fn from_flat(list: &[u8]) -> Result<Tokens, VocabularyError> {
        let (count, list) = list.split_first_chunk::<4>().ok_or(VocabularyError::Length)?;
        let count = u32::from_le_bytes(*count);
        let (lengths, bytes) = list.split_at_checked(count as usize).ok_or(VocabularyError::Length)?;
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut end = 0;
        starts.push(end);
        for (rank, &length) in (0..).zip(lengths) {
            if length == 0 || usize::from(length) > TOKEN_BYTES_MAX {
                return Err(VocabularyError::TokenLength(rank));
            }
            end += u32::from(length);
            starts.push(end);
        }
        if end as usize != bytes.len() || count >= 1 << 18 {
            return Err(VocabularyError::Length);
        }
        Ok(Tokens { bytes: bytes.into(), starts: starts.into() })
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline(always)]
    pub(super) fn bytes(&self, rank: Rank) -> &[u8] {
        &self.bytes[self.starts[rank as usize] as usize..self.starts[rank as usize + 1] as usize]
    }

    #[inline(always)]
    pub(super) fn len(&self, rank: Rank) -> usize {
        (self.starts[rank as usize + 1] - self.starts[rank as usize]) as usize
    }
}

/// From the bytes of a token to its rank. Open addressing; a slot holds 32 bits of the hash, so that
/// the bytes are compared nearly only when they are equal.
struct RankTable {
    slots: Box<[RankSlot]>,
}

#[derive(Clone, Copy)]
struct RankSlot {
    tag: u32,
    rank: Rank,
}

const NO_RANK: Rank = Rank::MAX;

impl RankTable {
    fn new(tokens: &Tokens) -> RankTable {
        let slots = (tokens.count() * 2).next_power_of_two();
        let mut slots = vec![RankSlot { tag: 0, rank: NO_RANK }; slots].into_boxed_slice();
        for rank in 0..tokens.count() as Rank {
            let hash = hash(tokens.bytes(rank));
            let mut at = hash as usize & (slots.len() - 1);
            while slots[at].rank != NO_RANK {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = RankSlot { tag: (hash >> 32) as u32, rank };
        }
        RankTable { slots }
    }

    #[inline(always)]
    fn get(&self, tokens: &Tokens, bytes: &[u8]) -> Option<Rank> {
        let hash = hash(bytes);
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let slot = self.slots[at];
            if slot.rank == NO_RANK {
                return None;
            }
            if slot.tag == (hash >> 32) as u32 && tokens.bytes(slot.rank) == bytes {
                return Some(slot.rank);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// A quick hash of a few bytes. The table is fixed, so nobody can make its chains longer.
#[inline(always)]
fn hash(bytes: &[u8]) -> u64 {
    let (a, b) = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let (words, _) = bytes[8..].as_chunks::<8>();
        let start = u64::from_le_bytes(*first);
        let middle = words
            .iter()
            .fold(start, |hash, word| fold(hash ^ u64::from_le_bytes(*word), 0x9E37_79B9_7F4A_7C15));
        (middle, u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        (u64::from(*first) << 16 | u64::from(bytes[bytes.len() / 2]) << 8 | u64::from(*last), 0)
    } else {
        (0, 0)
    };
    fold(a ^ 0xA076_1D64_78BD_642F, b ^ 0xE703_7ED1_A0B4_28DB ^ bytes.len() as u64)
}

/// Multiplies to 128 bits and folds the halves, so that every bit of the result depends on all.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
