//! The number of tokens of a piece that lies in memory.
//!
//! From left to right the longest token is taken that may stand after the one before. Where none may,
//! no encoding has a border: the token before is taken back, and the next shorter one tried. Each
//! place is found impossible once at most, so this ends soon, and with the encoding, because there
//! is only one sequence of tokens whose neighbours all may stand side by side (see GitHub's article
//! on the crate `bpe`).
//!
//! Few tokens are ever taken back, so only a window of the last ones is remembered, and memory is
//! bounded for a piece of any length.

use super::layout::{NO_RANK, Rank};
use super::vocabulary::Vocabulary;

/// Bytes up to which all tokens and places are remembered in a smaller stack frame.
const SMALL_BYTES_MAX: usize = 64;

/// Tokens that a longer piece remembers, and bytes whose places it does.
const WINDOW_TOKENS: usize = 256;
const WINDOW_BYTES: usize = 1024;

/// Tokens of a piece that is not empty. `None` if more would have to be taken back than is
/// remembered.
pub(super) fn count(vocabulary: &Vocabulary, piece: &[u8]) -> Option<u64> {
    if piece.len() <= SMALL_BYTES_MAX {
        Window::<SMALL_BYTES_MAX, { SMALL_BYTES_MAX / 64 }>::new().count(vocabulary, piece)
    } else {
        Window::<WINDOW_TOKENS, { WINDOW_BYTES / 64 }>::new().count(vocabulary, piece)
    }
}

/// The part of the way so far that is remembered: `TOKENS` tokens and the places in `WORDS` times 64 bytes.
struct Window<const TOKENS: usize, const WORDS: usize> {
    tokens: [Rank; TOKENS],
    /// How many tokens there are, those forgotten included.
    count: usize,
    /// How many of them are forgotten.
    forgotten: usize,
    /// A bit for each place: no token ends here.
    impossible: [u64; WORDS],
    /// The word of `impossible` that the furthest place reached is in, counted from the start.
    front: usize,
}

impl<const TOKENS: usize, const WORDS: usize> Window<TOKENS, WORDS> {
    /// In a short piece there is little to repeat.
    const USES_HINTS: bool = TOKENS > SMALL_BYTES_MAX;

    #[inline(always)]
    fn new() -> Self {
        Window { tokens: [0; TOKENS], count: 0, forgotten: 0, impossible: [0; WORDS], front: 0 }
    }

    #[inline(always)]
    fn count(&mut self, vocabulary: &Vocabulary, piece: &[u8]) -> Option<u64> {
        // Up to here the piece is encoded.
        let mut at = 0;
        loop {
            let Some(next) = self.choose(vocabulary, &piece[at..], at) else {
                let back = self.take_back(at)?;
                at -= vocabulary.token(back).len();
                continue;
            };
            at += vocabulary.token(next).len();
            self.push(next, at);
            if at == piece.len() {
                return Some(self.count as u64);
            }
        }
    }

    /// A token that may come next: the one that it was after the same token the last time, else the
    /// longest. Any that leads on will do, as only one does.
    #[inline(always)]
    fn choose(&self, vocabulary: &Vocabulary, rest: &[u8], at: usize) -> Option<Rank> {
        let longest = vocabulary.trie.longest(rest);
        let before = if self.count == 0 { NO_RANK } else { self.last() };
        let hint = if Self::USES_HINTS { vocabulary.next_hints.get(longest, before) } else { None };
        if let Some(hint) = hint.filter(|&hint| self.may_be_next(vocabulary, hint, at)) {
            return Some(hint);
        }
        if hint.is_none() && self.may_be_next(vocabulary, longest, at) {
            return Some(longest);
        }
        let mut all = std::iter::successors(Some(longest), |&token| vocabulary.shorter(token));
        let next = all.find(|&token| self.may_be_next(vocabulary, token, at))?;
        if Self::USES_HINTS {
            vocabulary.next_hints.set(longest, before, next);
        }
        Some(next)
    }

    #[inline(always)]
    fn may_be_next(&self, vocabulary: &Vocabulary, token: Rank, at: usize) -> bool {
        self.is_possible(at + vocabulary.token(token).len())
            && (self.count == 0 || vocabulary.may_follow(self.last(), token))
    }

    #[inline(always)]
    fn last(&self) -> Rank {
        self.tokens[(self.count - 1) % TOKENS]
    }

    #[inline(always)]
    fn push(&mut self, token: Rank, end: usize) {
        self.tokens[self.count % TOKENS] = token;
        self.count += 1;
        self.forgotten = self.forgotten.max(self.count.saturating_sub(TOKENS));
        // The window of places moves on: the words that come into it were those of earlier places.
        while self.front < end / 64 {
            self.front += 1;
            self.impossible[self.front % WORDS] = 0;
        }
    }

    /// Nothing fits at `at`: the last token, which ended there, is taken back.
    #[cold]
    fn take_back(&mut self, at: usize) -> Option<Rank> {
        // A token may begin this far before what is remembered.
        if self.count == self.forgotten || self.front - at / 64 + 4 > WORDS && self.front >= WORDS {
            return None;
        }
        self.impossible[at / 64 % WORDS] |= 1 << (at % 64);
        self.count -= 1;
        Some(self.tokens[self.count % TOKENS])
    }

    /// Places that were not reached yet are possible.
    #[inline(always)]
    fn is_possible(&self, end: usize) -> bool {
        end / 64 > self.front || self.impossible[end / 64 % WORDS] >> (end % 64) & 1 == 0
    }
}
