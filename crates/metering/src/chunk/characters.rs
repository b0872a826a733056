//! Counts the characters of a JSON string of any length that comes in pieces: its Unicode scalar values, by which
//! services bill what is to be spoken.

use super::json::{Joiner, Text};

/// Bytes of the longest escape: `\u00e9`.
const ESCAPE_BYTES_MAX: usize = 6;

/// A string so far.
#[derive(Clone, Debug, Default)]
pub(super) struct CharacterCount {
    count: u64,
    joiner: Joiner,
    /// The beginning of an escape that a piece ended in.
    cut: [u8; ESCAPE_BYTES_MAX],
    cut_bytes: usize,
}

impl CharacterCount {
    /// The next bytes between the string's quotes, as they are written.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.cut_bytes > 0
            && let Some((&byte, tail)) = rest.split_first()
        {
            self.cut[self.cut_bytes] = byte;
            self.cut_bytes += 1;
            rest = tail;
            if !is_cut(&self.cut[..self.cut_bytes]) {
                let escape = self.cut;
                self.feed(&escape[..self.cut_bytes]);
                self.cut_bytes = 0;
            }
        }
        let (whole, cut) = rest.split_at(rest.len() - cut_escape_bytes(rest));
        self.feed(whole);
        if !cut.is_empty() {
            self.cut[..cut.len()].copy_from_slice(cut);
            self.cut_bytes = cut.len();
        }
    }

    /// The string has ended: its count.
    pub(super) fn end(mut self) -> u64 {
        let count = &mut self.count;
        self.joiner.end(|part| *count += scalar_values(part));
        self.count
    }

    fn feed(&mut self, whole: &[u8]) {
        let count = &mut self.count;
        self.joiner.feed(Text::between_quotes(whole), |part| *count += scalar_values(part));
    }
}

/// Every byte of UTF-8 that is not the continuation of a character begins one.
fn scalar_values(part: &[u8]) -> u64 {
    part.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64
}

/// An escape, of which more has to come.
fn is_cut(escape: &[u8]) -> bool {
    match escape {
        [_] => true,
        [_, b'u', ..] => escape.len() < ESCAPE_BYTES_MAX,
        _ => false,
    }
}

/// Bytes at the end that begin an escape and do not end it.
fn cut_escape_bytes(bytes: &[u8]) -> usize {
    let tail_at = bytes.len().saturating_sub(ESCAPE_BYTES_MAX - 1);
    let Some(at) = bytes[tail_at..].iter().rposition(|byte| *byte == b'\\') else { return 0 };
    let (before, escape) = bytes.split_at(tail_at + at);
    // A backslash behind an odd number of others is the end of an escape itself.
    let begins = before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    if begins && is_cut(escape) { escape.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let mut count = CharacterCount::default();
        pieces.into_iter().for_each(|piece| count.push(piece));
        count.end()
    }

    #[test]
    fn an_escape_is_one_character_and_so_is_a_pair() {
        for (text, characters) in [
            ("", 0),
            ("Grün, bitte.", 12),
            (r"Gr\u00fcn\n", 5),
            (r#"\"\\\/\\"#, 4),
            (r"\ud83d\ude00😀", 2),
            (r"\ud83d", 1),
            (r"\ud83dx\ude00", 3),
            ("e\u{301}", 2),
        ] {
            assert_eq!(count([text.as_bytes()]), characters, "{text}");
            assert_eq!(count(text.as_bytes().chunks(1)), characters, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_have_the_characters_of_the_text(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "é", "堰", "😀", "\\n", "\\\\", "\\\"", "\\u00e9", "\\ud83d", "\\ude00", "\\u5830", "u", "00", "long text ",
            ]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let raw = parts.concat().into_bytes();
            let expected = Text::between_quotes(&raw).lossy().chars().count() as u64;
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(raw.len() + 1)).collect();
            at.extend([0, raw.len()]);
            at.sort_unstable();
            prop_assert_eq!(count([raw.as_slice()]), expected);
            prop_assert_eq!(count(at.windows(2).map(|pair| &raw[pair[0]..pair[1]])), expected);
            prop_assert_eq!(count(raw.chunks(1)), expected);
        }
    }
}
