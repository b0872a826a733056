//! A text of the response that arrives in deltas, and its count.

use crate::chunk::{self, Joiner};
use crate::tokens::{self, Counter, Encoding};

/// Bytes of a text that are kept while no chunk has named the model, and with it the vocabulary.
/// The first or second chunk does.
const UNNAMED_BYTES_MAX: usize = 64 << 10;

/// Every count looks at the last piece of its text again; more than this is rare.
const PIECE_BYTES_USUAL: usize = 64;

/// One text, counted as a whole: deltas are joined before they are counted.
#[derive(Debug, Default)]
pub(crate) struct CountedText {
    joiner: Joiner,
    counter: Option<Counter>,
    /// The text while the vocabulary is not known.
    unnamed: Vec<u8>,
    bytes: u64,
    last: Option<u8>,
    /// It has more than one line.
    breaks: bool,
    lost: bool,
}

impl CountedText {
    /// The next delta.
    pub(crate) fn push(&mut self, delta: chunk::Text<'_>, encoding: Option<Encoding>) {
        if delta.is_empty() {
            return;
        }
        if self.counter.is_none()
            && let Some(encoding) = encoding
        {
            let mut counter = Counter::new(encoding);
            counter.push(&std::mem::take(&mut self.unnamed));
            self.counter = Some(counter);
        }
        let CountedText { joiner, counter, unnamed, bytes, last, breaks, lost } = self;
        joiner.feed(delta, |part| {
            *bytes += part.len() as u64;
            *last = part.last().copied().or(*last);
            *breaks |= part.contains(&b'\n');
            match counter {
                Some(counter) => counter.push(part),
                None if !*lost && unnamed.len() + part.len() <= UNNAMED_BYTES_MAX => {
                    unnamed.extend_from_slice(part);
                }
                None => *lost = true,
            }
        });
    }

    /// Lets go of a text whose vocabulary is not known: the response has too much of the kind.
    pub(crate) fn lose_unnamed(&mut self) {
        if self.counter.is_none() && !self.unnamed.is_empty() {
            (self.unnamed, self.lost) = (Vec::new(), true);
        }
    }

    /// What [`CountedText::count`] takes, in bytes of text that it counts anew.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        let piece = if self.counter.is_some() { PIECE_BYTES_USUAL } else { 0 };
        piece + self.unnamed.len()
    }

    /// No delta with text has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && !self.joiner.is_waiting()
    }

    /// Bytes of the text.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last byte of the text.
    pub(crate) fn last(&self) -> Option<u8> {
        self.last
    }

    /// It has more than one line.
    pub(crate) fn breaks(&self) -> bool {
        self.breaks
    }

    /// Tokens if the text ended here; `None` if too much came before the model was known.
    /// `encoding` serves a text that no model was ever named for.
    pub(crate) fn count(&self, encoding: Encoding) -> Option<u64> {
        if self.lost {
            return None;
        }
        let Some(counter) = &self.counter else {
            let mut bytes = self.unnamed.clone();
            self.joiner.clone().end(|part| bytes.extend_from_slice(part));
            return Some(tokens::count(encoding, &String::from_utf8_lossy(&bytes)));
        };
        if !self.joiner.is_waiting() {
            return Some(counter.count());
        }
        let mut counter = counter.clone();
        self.joiner.clone().end(|part| counter.push(part));
        Some(counter.count())
    }
}
