//! The number of tokens of a piece that comes byte by byte, in constant memory.
//!
//! For every prefix of the piece there is a last token and a count. The last token of a prefix is
//! the one token `t` among its suffixes that may stand after the last token of the prefix without
//! `t` (an encoding of a prefix is unique, and cutting a token off the end of an encoding leaves an
//! encoding: see GitHub's article on the crate `bpe`). So each byte is one look at the prefixes that
//! end a token's length ago, and no token is longer than [`TOKEN_BYTES_MAX`]: a ring of that many
//! prefixes is enough for a piece of any length.

use super::layout::Rank;
use super::trie::{Node, ROOT};
use super::vocabulary::{TOKEN_BYTES_MAX, Vocabulary};

/// The encoding of a prefix: its last token and the number of tokens.
#[derive(Clone, Copy)]
struct Prefix {
    last: Rank,
    /// Of a piece so far. A piece of four billion tokens stops counting there.
    count: u32,
}

/// The prefixes of a piece that the next byte can make a difference to.
#[derive(Clone)]
pub(super) struct Ring {
    prefixes: [Prefix; TOKEN_BYTES_MAX],
    /// Bytes of the piece.
    len: usize,
    node: Node,
}

impl Ring {
    pub(super) fn new() -> Ring {
        Ring { prefixes: [Prefix { last: 0, count: 0 }; TOKEN_BYTES_MAX], len: 0, node: ROOT }
    }

    /// Back to the empty piece.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.node = ROOT;
    }

    /// The next byte of the piece.
    #[inline]
    pub(super) fn push(&mut self, vocabulary: &Vocabulary, byte: u8) {
        self.node = vocabulary.trie.step(self.node, byte);
        let prefix = self.encode_next(vocabulary, byte);
        self.len += 1;
        *self.slot(self.len) = prefix;
    }

    /// The encoding of the piece and one more byte, at which the automaton already stands.
    ///
    /// At most one token is right, so the order of trying makes no difference to the result. What
    /// was right the last time that the automaton stood here after the same token mostly is again.
    #[inline(always)]
    fn encode_next(&mut self, vocabulary: &Vocabulary, byte: u8) -> Prefix {
        let before = self.slot(self.len).last;
        let hint = vocabulary.hints.get(self.node, before);
        if let Some(prefix) = hint.and_then(|token| self.ending_with(vocabulary, token)) {
            return prefix;
        }
        for token in vocabulary.trie.ending_at(self.node) {
            if let Some(prefix) = self.ending_with(vocabulary, token) {
                vocabulary.hints.set(self.node, before, token);
                return prefix;
            }
        }
        // Not reached: every piece has an encoding, and its last token ends here.
        Prefix { last: vocabulary.trie.longest(&[byte]), count: self.slot(self.len).count.saturating_add(1) }
    }

    /// The encoding of the piece and one more byte, if its last token is `token`.
    #[inline(always)]
    fn ending_with(&mut self, vocabulary: &Vocabulary, token: Rank) -> Option<Prefix> {
        let token_bytes = vocabulary.token(token).len();
        debug_assert!(token_bytes <= TOKEN_BYTES_MAX && token_bytes <= self.len + 1, "a token ends here");
        let before = self.len + 1 - token_bytes;
        if before == 0 {
            return Some(Prefix { last: token, count: 1 });
        }
        let Prefix { last, count } = *self.slot(before);
        let fits = vocabulary.may_follow(last, token);
        fits.then_some(Prefix { last: token, count: count.saturating_add(1) })
    }

    /// Tokens of the piece so far.
    pub(super) fn count(&self) -> u64 {
        self.count_without(0)
    }

    /// Tokens of the piece so far without its last `bytes`, which must be fewer than
    /// [`TOKEN_BYTES_MAX`].
    pub(super) fn count_without(&self, bytes: usize) -> u64 {
        debug_assert!(bytes < TOKEN_BYTES_MAX && bytes <= self.len);
        let len = self.len - bytes;
        if len == 0 { 0 } else { u64::from(self.prefixes[len % TOKEN_BYTES_MAX].count) }
    }

    /// The prefix of `len` bytes: one of the last [`TOKEN_BYTES_MAX`].
    #[inline(always)]
    fn slot(&mut self, len: usize) -> &mut Prefix {
        &mut self.prefixes[len % TOKEN_BYTES_MAX]
    }
}
