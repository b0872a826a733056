//! The two older vocabularies count as tiktoken does, in every chunking.

use tiktoken_rs::CoreBPE;

use super::texts::{self, Rng};
use crate::tokens::merge::Limits;
use crate::tokens::{Counter, Encoding, count};

/// Texts for each encoding, and chunkings of each.
const TEXTS: u64 = 8_000;
const CHUNKINGS_PER_TEXT: usize = 3;

/// Usual limits, and one so low that nearly every piece is a long one.
const LIMITS: [Limits; 2] = [Limits::PRODUCTION, Limits { piece_bytes_max: 3, ..Limits::PRODUCTION }];

fn both() -> [(Encoding, CoreBPE); 2] {
    [
        (Encoding::P50kBase, tiktoken_rs::p50k_base().unwrap()),
        (Encoding::R50kBase, tiktoken_rs::r50k_base().unwrap()),
    ]
}

fn expected(tiktoken: &CoreBPE, text: &str) -> u64 {
    tiktoken.encode_ordinary(text).len() as u64
}

#[test]
fn any_text_in_any_chunks() {
    for (encoding, tiktoken) in both() {
        for seed in 0..TEXTS {
            let mut rng = Rng::new(seed);
            let bytes = texts::bytes(&mut rng, Encoding::Cl100kBase);
            let text = String::from_utf8_lossy(&bytes);
            let expected = expected(&tiktoken, &text);
            assert_eq!(count(encoding, &text), expected, "{encoding:?}, seed {seed}: {text:?}");
            for _ in 0..CHUNKINGS_PER_TEXT {
                let mut counter = Counter::with_limits(encoding, rng.one_of(&LIMITS));
                texts::chunks(&mut rng, &bytes).iter().for_each(|chunk| counter.push(chunk));
                assert_eq!(counter.count(), expected, "{encoding:?}, seed {seed}: {text:?}");
            }
        }
    }
}

/// Contractions, blanks, digits: where the rule of GPT-2 is another.
#[test]
fn at_every_end_of_the_hard_places() {
    let hard = "it's It'S 'RE're 'r 'rx've'v'll'l'lm don't''s  'd\r\n\r\n \n x  12345678 1\t9 \u{a0}!?  /\n/ é\u{301}中 \n";
    for (encoding, tiktoken) in both() {
        let mut counter = Counter::new(encoding);
        for (at, character) in hard.char_indices() {
            counter.push(character.encode_utf8(&mut [0; 4]).as_bytes());
            let so_far = &hard[..at + character.len_utf8()];
            assert_eq!(counter.count(), expected(&tiktoken, so_far), "{encoding:?}: {so_far:?}");
        }
    }
}
