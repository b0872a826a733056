//! The counter: pieces and characters behind one `push`.

use std::fmt;

use super::encoding::Encoding;
use super::lossy::Carry;
use super::merge::{Bpe, MethodLimits};
use super::scan::PieceScanner;
use super::tables::Tables;

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
    /// A counter at the start of a text. Loads the tables if no one has yet (see `load`).
    pub fn new(encoding: Encoding) -> Counter {
        Counter::with_limits(encoding, MethodLimits::PRODUCTION)
    }

    pub(super) fn with_limits(encoding: Encoding, limits: MethodLimits) -> Counter {
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
