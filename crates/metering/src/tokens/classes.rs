//! The class of a character, which is all that the pretokenizer patterns see of it.
//!
//! The patterns of both encodings tell characters apart by Unicode category only, besides a few
//! ASCII characters. The classes are made at start from the tables of `regex-syntax`, the crate
//! whose tables tiktoken's own regular expressions use, so the two cannot differ in the version of
//! Unicode.

use std::collections::HashMap;

use regex_syntax::hir::{Class as HirClass, HirKind};

use super::encoding::Encoding;

/// The class of a character under one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CharClass {
    /// Punctuation, symbols, controls, unassigned; for cl100k_base also marks and `/`.
    Other,
    /// `'`, which may begin a contraction.
    Apostrophe,
    /// `/`, which o200k_base takes along with the newlines after punctuation.
    Slash,
    /// A letter that ends the upper part of a word: `Ll`. For cl100k_base every letter.
    Lower,
    /// `Lu` and `Lt` (o200k_base only).
    Upper,
    /// `Lm` and `Lo`, which may stand in both parts of a word (o200k_base only).
    Caseless,
    /// `M`, which may also stand in both parts of a word (o200k_base only).
    Mark,
    /// `N`.
    Number,
    /// White space other than carriage return and line feed.
    Space,
    /// Carriage return or line feed.
    Newline,
}

/// A character of a text: code point, class, bytes in UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Char {
    pub(super) code: u32,
    pub(super) class: CharClass,
    pub(super) len: usize,
}

const CODE_POINTS: usize = 0x11_0000;

/// Code points in one block of the table. Equal blocks are stored once: 47 KB instead of 1.1 MB.
const BLOCK: usize = 128;

/// The class of every code point.
pub(super) struct Classes {
    ascii: [CharClass; BLOCK],
    /// For each block of code points, which of `blocks` it is.
    index: Vec<u16>,
    blocks: Vec<[CharClass; BLOCK]>,
}

impl Classes {
    pub(super) fn of(encoding: Encoding) -> Classes {
        let mut classes = vec![CharClass::Other; CODE_POINTS];
        // Later rows overwrite earlier ones.
        let common = [
            (r"\s", CharClass::Space),
            (r"[\r\n]", CharClass::Newline),
            (r"\p{N}", CharClass::Number),
            ("'", CharClass::Apostrophe),
        ];
        let own: &[(&str, CharClass)] = match encoding {
            Encoding::O200kBase => &[
                (r"[\p{Lu}\p{Lt}]", CharClass::Upper),
                (r"\p{Ll}", CharClass::Lower),
                (r"[\p{Lm}\p{Lo}]", CharClass::Caseless),
                (r"\p{M}", CharClass::Mark),
                ("/", CharClass::Slash),
            ],
            Encoding::Cl100kBase => &[(r"\p{L}", CharClass::Lower)],
        };
        for &(pattern, class) in common.iter().chain(own) {
            for (first, last) in code_points(pattern) {
                classes[first as usize..=last as usize].fill(class);
            }
        }
        Classes::compress(&classes)
    }

    fn compress(classes: &[CharClass]) -> Classes {
        let mut seen: HashMap<[u8; BLOCK], u16> = HashMap::new();
        let mut blocks = Vec::new();
        let (all, _) = classes.as_chunks::<BLOCK>();
        let index = all
            .iter()
            .map(|block| {
                *seen.entry(block.map(|class| class as u8)).or_insert_with(|| {
                    blocks.push(*block);
                    (blocks.len() - 1) as u16
                })
            })
            .collect();
        Classes { ascii: all[0], index, blocks }
    }

    /// The character at `at`, which must be a character boundary of valid UTF-8.
    #[inline(always)]
    pub(super) fn char_at(&self, text: &[u8], at: usize) -> Char {
        let first = text[at];
        if first < 0x80 {
            return Char { code: u32::from(first), class: self.ascii[usize::from(first)], len: 1 };
        }
        let (code, len) = decode(&text[at..]);
        let block = usize::from(self.index[code as usize / BLOCK]);
        Char { code, class: self.blocks[block][code as usize % BLOCK], len }
    }

    /// The class of an ASCII byte; `Other` for bytes that are not ASCII.
    #[inline(always)]
    pub(super) fn of_byte(&self, byte: u8) -> CharClass {
        if byte < 0x80 { self.ascii[usize::from(byte)] } else { CharClass::Other }
    }
}

/// The first character of valid UTF-8 that does not begin with an ASCII character, and its length.
#[inline(always)]
fn decode(text: &[u8]) -> (u32, usize) {
    let first = u32::from(text[0]);
    let next = |i: usize| u32::from(text[i]) & 0x3F;
    match first {
        ..0xE0 => ((first & 0x1F) << 6 | next(1), 2),
        0xE0..0xF0 => ((first & 0x0F) << 12 | next(1) << 6 | next(2), 3),
        _ => ((first & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3), 4),
    }
}

/// The ranges of code points that a pattern for one character matches.
#[expect(
    clippy::panic,
    reason = "the patterns are constants, and a test builds the tables of both encodings"
)]
fn code_points(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern);
    match hir.as_ref().map(|hir| hir.kind()) {
        Ok(HirKind::Class(HirClass::Unicode(class))) => {
            class.iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Ok(HirKind::Literal(literal)) if literal.0.len() == 1 => {
            vec![(literal.0[0].into(), literal.0[0].into())]
        }
        _ => panic!("{pattern} is not a pattern for one character"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_decodes_to_itself() {
        let classes = Classes::of(Encoding::O200kBase);
        for expected in (0..CODE_POINTS as u32).filter_map(char::from_u32) {
            let mut bytes = [0; 4];
            let text = expected.encode_utf8(&mut bytes).as_bytes();
            let got = classes.char_at(text, 0);
            assert_eq!((got.code, got.len), (u32::from(expected), expected.len_utf8()));
        }
    }

    #[test]
    fn classes_follow_the_categories() {
        let cases = [
            ('a', CharClass::Lower, CharClass::Lower),
            ('Z', CharClass::Upper, CharClass::Lower),
            ('ǅ', CharClass::Upper, CharClass::Lower),
            ('ʰ', CharClass::Caseless, CharClass::Lower),
            ('中', CharClass::Caseless, CharClass::Lower),
            ('\u{301}', CharClass::Mark, CharClass::Other),
            ('Ⅷ', CharClass::Number, CharClass::Number),
            ('\u{a0}', CharClass::Space, CharClass::Space),
            ('\u{2028}', CharClass::Space, CharClass::Space),
            ('\r', CharClass::Newline, CharClass::Newline),
            ('/', CharClass::Slash, CharClass::Other),
            ('\'', CharClass::Apostrophe, CharClass::Apostrophe),
            ('😀', CharClass::Other, CharClass::Other),
            ('\u{10ffff}', CharClass::Other, CharClass::Other),
        ];
        let (o200k, cl100k) = (Classes::of(Encoding::O200kBase), Classes::of(Encoding::Cl100kBase));
        for (character, in_o200k, in_cl100k) in cases {
            let text = character.to_string();
            assert_eq!(o200k.char_at(text.as_bytes(), 0).class, in_o200k, "{character:?}");
            assert_eq!(cl100k.char_at(text.as_bytes(), 0).class, in_cl100k, "{character:?}");
        }
    }
}
