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

mod backtrack;
mod classes;
mod counter;
mod encoding;
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

pub use counter::{Counter, count};
pub use encoding::Encoding;
pub use models::{FAMILIES, why_uncounted};
pub use tables::{VOCABULARY_BYTES, is_loaded, load};
