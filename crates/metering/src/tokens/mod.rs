//! Incremental token counter: text in pieces, the count of the whole.
//!
//! A [`Counter`] takes a text in any chunks and knows at any time how many tokens the text so far
//! has: the number that tiktoken's `encode_ordinary` gives for the whole, special tokens being
//! plain text. Adding the counts of the chunks would not do, as tokens go across their borders.
//!
//! The way of a text: `lossy` makes characters of bytes; `scan` finds where pieces end, by the
//! `classes` of the characters; `piece` holds the current piece; `backtrack` (in memory) and `ring`
//! (byte by byte) count the tokens of a piece with the tables of its `vocabulary`. Each character is read once, memory is bounded
//! (see [`Counter`]), and no input takes time that grows faster than its length.

use std::fmt;

mod backtrack;
mod classes;
#[expect(dead_code, reason = "build.rs uses the writing half")]
mod layout;
mod lossy;
mod memo;
mod merge;
mod models;
mod perfect;
mod piece;
mod ring;
mod scan;
mod tables;
mod trie;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use models::{FAMILIES, why_uncounted};
pub use tables::{VOCABULARY_BYTES, is_loaded, load};

use lossy::Carry;
use merge::{Bpe, MethodLimits};
use scan::PieceScanner;
use tables::Tables;

/// A vocabulary with the rule that cuts text into pieces for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// gpt-4o and later.
    O200kBase,
    /// gpt-4, gpt-3.5, embeddings.
    Cl100kBase,
}

impl Encoding {
    /// The name that tiktoken gives it; stands in `accounting.tokenizer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::O200kBase => "o200k_base",
            Encoding::Cl100kBase => "cl100k_base",
        }
    }
}

/// Counts the tokens of a text that arrives in chunks.
///
/// Making one allocates nothing. While it counts it holds the current piece: usually less than
/// 100 bytes, never more than 2.3 KiB in all.
#[derive(Clone)]
pub struct Counter {
    scanner: PieceScanner,
    carry: Carry,
}

impl Counter {
    /// A counter at the start of a text. Loads the tables if no one has yet (see [`load`]).
    pub fn new(encoding: Encoding) -> Counter {
        Counter::with_limits(encoding, MethodLimits::PRODUCTION)
    }

    fn with_limits(encoding: Encoding, limits: MethodLimits) -> Counter {
        let tables = Tables::of(encoding);
        let bpe = Bpe { vocabulary: &tables.vocabulary, limits };
        Counter { scanner: PieceScanner::new(tables, bpe), carry: Carry::default() }
    }

    /// The next bytes of the text; a character may be cut anywhere. Bytes that are not UTF-8
    /// count as U+FFFD, exactly as in [`String::from_utf8_lossy`] of the whole.
    pub fn push(&mut self, bytes: &[u8]) {
        self.carry.push(bytes, &mut self.scanner);
    }

    /// The next characters of the text. The same as [`Counter::push`] of their bytes, a little
    /// quicker.
    pub fn push_str(&mut self, text: &str) {
        if !text.is_empty() {
            self.carry.end(&mut self.scanner);
            self.scanner.push(text);
        }
    }

    /// Tokens if the text ended here. Does not disturb the stream.
    pub fn count(&self) -> u64 {
        if self.carry.is_empty() {
            return self.scanner.count();
        }
        let mut ended = self.clone();
        ended.carry.end(&mut ended.scanner);
        ended.scanner.count()
    }

    /// The encoding it counts in.
    pub fn encoding(&self) -> Encoding {
        self.scanner.encoding()
    }

    /// Bytes that it holds on the heap now.
    pub fn heap_bytes(&self) -> usize {
        self.scanner.heap_bytes()
    }
}

/// Shows no text.
impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("encoding", &self.encoding()).finish_non_exhaustive()
    }
}

/// Tokens of a whole text.
pub fn count(encoding: Encoding, text: &str) -> u64 {
    Counter::new(encoding).scanner.end(text)
}
