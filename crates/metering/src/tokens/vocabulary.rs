//! One vocabulary, and the questions that counting asks of it.
//!
//! Byte pair encoding starts from single bytes and again and again joins the two neighbours whose
//! joined bytes are the token of the lowest rank, the leftmost first among equals. A count needs to
//! know: is this piece a token (most are)? Which tokens begin here, which end here? And may two
//! tokens stand side by side in a result?
//!
//! The tables are made at build time and read where they lie in the program ([`super::layout`]), so
//! nothing is to be loaded.

use std::fmt;

use super::layout::{NO_RANK, Rank, SHORT_BYTES_MAX, TokenEntry};
use super::memo::{Hints, Memo};
use super::perfect::{Joined, ShortTokens};
use super::trie::Trie;

pub(super) use super::layout::TOKEN_BYTES_MAX;

/// The smallest page of any system.
const PAGE_BYTES: usize = 4 << 10;

/// All tables of one encoding.
pub(super) struct Vocabulary {
    short: ShortTokens,
    joined: Joined,
    pub(super) trie: Trie,
    memo: Memo,
    /// Which token ends at a node of the trie, after a token.
    pub(super) hints: Hints,
    /// Which token begins where a longest one does, after a token.
    pub(super) next_hints: Hints,
}

impl Vocabulary {
    pub(super) fn new(short: ShortTokens, joined: Joined, trie: Trie) -> Vocabulary {
        Vocabulary { short, joined, trie, memo: Memo::new(), hints: Hints::new(), next_hints: Hints::new() }
    }

    /// Is this whole piece a token?
    #[inline(always)]
    pub(super) fn is_token(&self, piece: &[u8]) -> bool {
        if piece.len() <= SHORT_BYTES_MAX { self.short.contains(piece) } else { self.is_long_token(piece) }
    }

    #[inline(never)]
    fn is_long_token(&self, piece: &[u8]) -> bool {
        piece.len() <= TOKEN_BYTES_MAX && self.trie.contains(piece)
    }

    /// The properties of a token.
    #[inline(always)]
    pub(super) fn token(&self, rank: Rank) -> TokenEntry {
        self.trie.token(rank)
    }

    /// The longest token that is a proper prefix of a token.
    #[inline(always)]
    pub(super) fn shorter(&self, token: Rank) -> Option<Rank> {
        let prefix = self.token(token).prefix();
        (prefix != NO_RANK).then_some(prefix)
    }

    /// The token that two neighbours make.
    #[inline(always)]
    pub(super) fn joined(&self, left: Rank, right: Rank) -> Option<Rank> {
        self.joined.get(left, right)
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
            let left_end = self.token(left).right();
            let right_start = self.token(right).left();
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

    /// Reads one byte of every page of the tables. The sum means nothing.
    pub(super) fn touch(&self) -> u64 {
        let Trie { steps, links, tokens } = self.trie;
        let files = [
            self.short.slots.as_flattened(),
            self.short.buckets.as_flattened(),
            self.joined.slots.as_flattened(),
            self.joined.buckets.as_flattened(),
            steps.as_flattened(),
            links.as_flattened(),
            tokens.as_flattened(),
        ];
        files.iter().flat_map(|file| file.iter().step_by(PAGE_BYTES)).map(|&byte| u64::from(byte)).sum()
    }

    /// How many tokens there are.
    pub(super) fn token_count(&self) -> usize {
        self.trie.tokens.len()
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("tokens", &self.token_count()).finish_non_exhaustive()
    }
}
