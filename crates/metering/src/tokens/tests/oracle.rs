//! Equal to tiktoken: every chunking of every text, at its end and at random places before.
//!
//! Texts stay short, as tiktoken's regular expressions panic on very long runs of white space.

use std::env;
use std::str;

use super::texts::{self, Rng};
use super::words::{ENCODINGS, Words};
use crate::tokens::merge::MethodLimits;
use crate::tokens::{Counter, Encoding, count};

/// Chunkings for each encoding; a million with `TOKENWEIR_LONG=1`.
const CHUNKINGS: usize = 60_000;
const CHUNKINGS_LONG: usize = 1_000_000;

/// Chunkings of each text.
const CHUNKINGS_PER_TEXT: usize = 4;

/// Usual limits, and some so low that nearly every piece is a long one.
const LIMITS: &[MethodLimits] = &[
    MethodLimits::PRODUCTION,
    MethodLimits { backtrack_bytes_max: 2, piece_bytes_max: 3 },
    MethodLimits { backtrack_bytes_max: 0, piece_bytes_max: 0 },
    MethodLimits { backtrack_bytes_max: 5, piece_bytes_max: 16 },
];

#[test]
fn o200k_base_counts_as_tiktoken_does() {
    compare(Encoding::O200kBase);
}

#[test]
fn cl100k_base_counts_as_tiktoken_does() {
    compare(Encoding::Cl100kBase);
}

fn compare(encoding: Encoding) {
    let long = env::var_os("TOKENWEIR_LONG").is_some_and(|value| value == "1");
    let chunkings = if long { CHUNKINGS_LONG } else { CHUNKINGS };
    let mut peeks = 0;
    for seed in 0..(chunkings / CHUNKINGS_PER_TEXT) as u64 {
        let mut rng = Rng::new(seed);
        let bytes = texts::bytes(&mut rng, encoding);
        let expected = Words::of(encoding).count(&bytes);
        assert_eq!(count(encoding, &String::from_utf8_lossy(&bytes)), expected, "seed {seed}: {bytes:?}");
        for _ in 0..CHUNKINGS_PER_TEXT {
            peeks += compare_chunking(&mut rng, encoding, &bytes, expected, seed);
        }
    }
    println!("{}: {chunkings} chunkings, {peeks} counts in between, no difference", encoding.as_str());
}

/// Tokens are where cuts matter: `亚洲AV` is a token, but as a text of its own it is two pieces, and
/// with a lower-case letter after it, one.
#[test]
fn every_token_counts_as_tiktoken_does() {
    for encoding in ENCODINGS {
        let words = Words::of(encoding);
        for (rank, bytes) in (0..).zip(&words.tokens) {
            let Ok(token) = str::from_utf8(bytes) else { continue };
            let mut rng = Rng::new(rank);
            let end = rng.one_of(&["", "", "b", "B", "'s", "'x", " ", "\n", "1", "!", "中"]);
            let text = format!("{token}{end}");
            let expected = words.count(text.as_bytes());
            let mut counter = Counter::with_limits(encoding, rng.one_of(LIMITS));
            for chunk in texts::chunks(&mut rng, text.as_bytes()) {
                counter.push(chunk);
            }
            assert_eq!(counter.count(), expected, "{} rank {rank}: {text:?}", encoding.as_str());
        }
    }
}

#[test]
fn tokens_that_go_over_a_cut() {
    let words = Words::of(Encoding::O200kBase);
    for start in ["亚洲AV", " 亚洲AV", "无码AV", " 天天中彩票APP"] {
        for end in ["", "b", "中", "'s", "'x", "'", " ", "!", "1", "中B", "\n"] {
            let text = format!("{start}{end}");
            for &limits in LIMITS {
                for cut in 0..=text.len() {
                    let mut counter = Counter::with_limits(Encoding::O200kBase, limits);
                    counter.push(&text.as_bytes()[..cut]);
                    counter.push(&text.as_bytes()[cut..]);
                    assert_eq!(counter.count(), words.count(text.as_bytes()), "{text:?} at {cut}");
                }
            }
        }
    }
}

fn compare_chunking(rng: &mut Rng, encoding: Encoding, bytes: &[u8], expected: u64, seed: u64) -> usize {
    let limits = rng.one_of(LIMITS);
    let chunks = texts::chunks(rng, bytes);
    let mut counter = Counter::with_limits(encoding, limits);
    let (mut read, mut peeks) = (0, 0);
    for chunk in &chunks {
        match str::from_utf8(chunk) {
            Ok(text) if rng.once_in(2) => counter.push_str(text),
            _ => counter.push(chunk),
        }
        read += chunk.len();
        if rng.once_in(40) {
            peeks += 1;
            let so_far = Words::of(encoding).count(&bytes[..read]);
            assert_eq!(
                counter.count(),
                so_far,
                "seed {seed}, {limits:?}, after {read} bytes of {bytes:?} in {chunks:?}"
            );
        }
    }
    assert_eq!(counter.count(), expected, "seed {seed}, {limits:?}: {bytes:?} in {chunks:?}");
    peeks
}
