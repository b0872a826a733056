//! Random texts that live where the rules are hard: borders of classes, contractions, runs of white
//! space, cut and broken characters.

use super::words::Words;
use crate::tokens::Encoding;

/// SplitMix64: small, and the same on every machine.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const POOLS: &[&[&str]] = &[
    // Words and what they are made of.
    &["a", "b", "e", "s", "t", "l", "r", "v", "m", "d", "re", "ve", "ll", "the", " ", " ", "  ", "'"],
    // White space of all widths, with a little to end it.
    &[
        " ", " ", " ", "\n", "\r", "\r\n", "\t", "\u{a0}", "\u{2003}", "\u{85}", "\u{3000}", "\u{b}",
        "\u{2028}", "x", "!", "1", "中",
    ],
    // Contractions, whole, half, doubled and false.
    &[
        "'s",
        "'S",
        "'\u{17f}",
        "'t",
        "'RE",
        "'rE",
        "'ve",
        "'vE",
        "'LL",
        "'lL",
        "'m",
        "'D",
        "'",
        "''",
        "a",
        "A",
        "Z",
        "中",
        " ",
        "I",
        "'r",
        "'R",
        "'l",
        "'v",
        "\u{2019}s",
        "\u{301}",
        "e",
        "l",
        "\u{212a}",
    ],
    // Upper, lower, caseless, marks.
    &["A", "B", "C", "a", "b", "中", "ñ", "É", "ǅ", "ʰ", "\u{301}", "\u{fe0f}", "ª", " ", "!", "1", "'", "s"],
    // Numbers.
    &["0", "1", "9", "12", "345", "٣", "²", "Ⅷ", "½", ".", ",", " ", "-", "a", "\n"],
    // Punctuation and its tail.
    &[
        "!",
        "?",
        "/",
        "//",
        "\n",
        "\r",
        "\n\n",
        "#",
        "(",
        ")",
        "{",
        "}",
        " ",
        ";",
        "=",
        "'",
        "\"",
        "a",
        "\u{301}",
        "<|endoftext|>",
    ],
    // Emoji.
    &["😀", "👩\u{200d}💻", "🇺🇸", "❤\u{fe0f}", "👍🏽", " ", "a", "\u{200d}", "\u{fe0f}", "\n"],
    // East Asian.
    &[
        "日", "本", "語", "の", "テ", "ス", "ト", "中", "文", "字", "한", "글", "。", "、", "A", "b", "1",
        " ", "\u{3099}",
    ],
    // Controls, formats, private, unassigned.
    &["\u{0}", "\u{7f}", "\u{ad}", "\u{feff}", "\u{fffd}", "\u{10ffff}", "\u{e000}", "\u{378}", " ", "a"],
    // Scripts that join.
    &["ไ", "ท", "ย", "ั", "้", "नम", "स", "्", "ते", "ع", "ر", "َ", "ש", "ּ", " ", "a", "B"],
];

/// First code points of some blocks.
const BLOCKS: &[u32] =
    &[0x20, 0xA0, 0x180, 0x300, 0x400, 0x600, 0x900, 0x1F80, 0x2000, 0x3000, 0x4E00, 0xAC00, 0x1_F300];

/// A text of a few parts, mostly short, now and then some hundred pieces long.
pub(super) fn text(rng: &mut Rng, encoding: Encoding) -> String {
    let mut text = String::new();
    for _ in 0..=rng.below(4) {
        let items = match rng.below(40) {
            0 => rng.below(400),
            1..=6 => rng.below(60),
            _ => 1 + rng.below(12),
        };
        part(rng, encoding, items, &mut text);
    }
    text
}

fn part(rng: &mut Rng, encoding: Encoding, items: usize, text: &mut String) {
    let any_below = |rng: &mut Rng, end: usize| char::from_u32(rng.below(end) as u32).unwrap_or('\u{FFFD}');
    match rng.below(POOLS.len() + 4) {
        0 => text.extend((0..items).map(|_| any_below(rng, 0x11_0000))),
        1 => {
            let block = rng.one_of(BLOCKS);
            text.extend((0..items).filter_map(|_| char::from_u32(block + rng.below(256) as u32)));
        }
        2 => {
            let tokens = &Words::of(encoding).tokens;
            for _ in 0..items {
                text.push_str(&String::from_utf8_lossy(&tokens[rng.below(tokens.len())]));
            }
        }
        3 => {
            let pool = rng.one_of(POOLS);
            text.push_str(&rng.one_of(pool).repeat(items));
        }
        pool => {
            for _ in 0..items {
                text.push_str(rng.one_of(POOLS[pool - 4]));
            }
        }
    }
}

/// The bytes of a text, every other time with some of them lost, doubled or replaced.
pub(super) fn bytes(rng: &mut Rng, encoding: Encoding) -> Vec<u8> {
    let mut bytes = text(rng, encoding).into_bytes();
    if rng.once_in(2) {
        for _ in 0..=rng.below(1 + bytes.len() / 16) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, bytes[at]),
                2 => bytes[at] = rng.next() as u8,
                _ => bytes[at] = rng.one_of(&[0x80, 0xBF, 0xC0, 0xC3, 0xE4, 0xED, 0xF0, 0xF4, 0xF5, 0xFF]),
            }
        }
    }
    bytes
}

/// Cuts some bytes into chunks anywhere, in one of several manners.
pub(super) fn chunks<'a>(rng: &mut Rng, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let longest = match rng.below(5) {
        0 => 1,
        1 => 4,
        2 => 16,
        3 => 64,
        _ => bytes.len().max(1),
    };
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at((1 + rng.below(longest)).min(bytes.len()));
        chunks.push(chunk);
        bytes = rest;
    }
    if rng.once_in(4) {
        chunks.insert(rng.below(chunks.len() + 1), b"");
    }
    chunks
}
