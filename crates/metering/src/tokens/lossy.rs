//! Makes text of bytes that are cut anywhere, as [`String::from_utf8_lossy`] reads the whole.

use super::scan::PieceScanner;

/// An ill-formed sequence counts as this character.
const REPLACEMENT: &str = "\u{FFFD}";

/// The beginning of a character whose end has not come yet: at most three bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    bytes: [u8; 4],
    len: u8,
}

impl Carry {
    /// Gives the next bytes to the scanner as text, and keeps an unfinished character at their end.
    ///
    /// An ill-formed sequence becomes one U+FFFD for each maximal subpart (Unicode 3.9, table 3-8).
    pub(super) fn push(&mut self, mut bytes: &[u8], scanner: &mut PieceScanner) {
        while self.len > 0 && !bytes.is_empty() {
            bytes = self.finish(bytes, scanner);
        }
        if let Ok(text) = str::from_utf8(bytes) {
            scanner.push(text);
            return;
        }
        let mut parts = bytes.utf8_chunks().peekable();
        while let Some(part) = parts.next() {
            scanner.push(part.valid());
            if parts.peek().is_none() && is_unfinished(part.invalid()) {
                self.bytes[..part.invalid().len()].copy_from_slice(part.invalid());
                self.len = part.invalid().len() as u8;
            } else if !part.invalid().is_empty() {
                scanner.push(REPLACEMENT);
            }
        }
    }

    /// Tries the first of some bytes as the next of the unfinished character. Gives the bytes that
    /// are still to be read.
    fn finish<'a>(&mut self, bytes: &'a [u8], scanner: &mut PieceScanner) -> &'a [u8] {
        self.bytes[usize::from(self.len)] = bytes[0];
        let tried = &self.bytes[..=usize::from(self.len)];
        match str::from_utf8(tried) {
            Ok(character) => {
                scanner.push(character);
                self.len = 0;
                &bytes[1..]
            }
            Err(_) if is_unfinished(tried) => {
                self.len += 1;
                &bytes[1..]
            }
            Err(_) => {
                self.end(scanner);
                bytes
            }
        }
    }

    /// No byte of the unfinished character will come.
    pub(super) fn end(&mut self, scanner: &mut PieceScanner) {
        if self.len > 0 {
            scanner.push(REPLACEMENT);
            self.len = 0;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Is this the beginning of one character?
fn is_unfinished(bytes: &[u8]) -> bool {
    matches!(str::from_utf8(bytes), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none())
}
