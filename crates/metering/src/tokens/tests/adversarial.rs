//! Long runs of the worst: counting ends, does not panic, and the number is right.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::texts::Rng;
use super::words::{ENCODINGS, Words};
use crate::tokens::{Counter, Encoding, count};

/// Bytes of a text that is compared with an encoding by the book.
const LONG: usize = 1 << 17;

/// Bytes of a text that is counted in two ways.
const VERY_LONG: usize = 1 << 20;

/// Byte pair encoding by the book, in time that a long piece allows: a heap of joins over a linked
/// list of tokens.
fn tokens_of_piece(words: &Words, piece: &[u8]) -> u64 {
    const END: usize = usize::MAX;
    let mut end: Vec<usize> = (1..=piece.len()).collect();
    let mut left: Vec<usize> = (0..piece.len()).map(|at| at.wrapping_sub(1)).collect();
    let mut live = vec![true; piece.len()];
    let mut joins = BinaryHeap::new();
    let rank_at = |at: usize, end: &[usize]| {
        let middle = end[at];
        (middle < piece.len()).then(|| words.rank(&piece[at..end[middle]])).flatten()
    };
    for at in 0..piece.len() {
        joins.extend(rank_at(at, &end).map(|rank| Reverse((rank, at))));
    }
    let mut count = piece.len() as u64;
    while let Some(Reverse((rank, at))) = joins.pop() {
        if !live[at] || rank_at(at, &end) != Some(rank) {
            continue; // One of the two has been joined otherwise since.
        }
        let middle = end[at];
        live[middle] = false;
        end[at] = end[middle];
        if end[at] < piece.len() {
            left[end[at]] = at;
        }
        count -= 1;
        joins.extend(rank_at(at, &end).map(|rank| Reverse((rank, at))));
        if left[at] != END {
            joins.extend(rank_at(left[at], &end).map(|rank| Reverse((rank, left[at]))));
        }
    }
    count
}

/// Whole, and in small chunks with counts asked for on the way.
fn check(encoding: Encoding, name: &str, text: &[u8], expected: u64) {
    for chunk_len in [text.len(), 5] {
        let mut counter = Counter::new(encoding);
        for (at, chunk) in text.chunks(chunk_len).enumerate() {
            counter.push(chunk);
            if at % 997 == 0 {
                counter.count();
            }
        }
        assert!(counter.heap_bytes() < 2_300, "{name}");
        assert_eq!(counter.count(), expected, "{} of {name} in chunks of {chunk_len}", encoding.as_str());
    }
}

/// For a text that is one piece.
fn check_piece(encoding: Encoding, name: &str, text: &[u8]) {
    check(encoding, name, text, tokens_of_piece(Words::of(encoding), text));
}

#[test]
fn runs_of_one_character() {
    for encoding in ENCODINGS {
        for character in ["a", " ", "\t", "\n", "中", "é", "😀", "=", "_", "\u{301}", "\u{3000}"] {
            check_piece(encoding, character, character.repeat(LONG / character.len()).as_bytes());
        }
    }
}

#[test]
fn white_space_that_may_fall_in_two() {
    for encoding in ENCODINGS {
        let words = Words::of(encoding);
        let run = " ".repeat(LONG);
        // Before a letter the last space goes with the letter.
        let expected = tokens_of_piece(words, &run.as_bytes()[1..]) + count(encoding, " x");
        check(encoding, "spaces and x", format!("{run}x").as_bytes(), expected);
        let expected = tokens_of_piece(words, format!("\n{run}\r").as_bytes());
        check(encoding, "spaces in newlines", format!("\n{run}\r").as_bytes(), expected);
        let two = 1 + tokens_of_piece(words, run.as_bytes());
        let one = tokens_of_piece(words, format!("\n{run}").as_bytes());
        let expected = if encoding == Encoding::O200kBase { two } else { one };
        check(encoding, "newline and spaces", format!("\n{run}").as_bytes(), expected);
    }
}

#[test]
fn upper_case_that_may_fall_in_two() {
    let run = "A".repeat(LONG);
    let o200k = Words::of(Encoding::O200kBase);
    let two = 1 + tokens_of_piece(o200k, run.as_bytes());
    check(Encoding::O200kBase, "中 and A", format!("中{run}").as_bytes(), two);
    for (encoding, end) in
        [(Encoding::O200kBase, "b"), (Encoding::O200kBase, "中"), (Encoding::Cl100kBase, "")]
    {
        check_piece(encoding, "中, A and an end", format!("中{run}{end}").as_bytes());
    }
}

#[test]
fn random_letters_in_one_piece() {
    let mut rng = Rng::new(7);
    for encoding in ENCODINGS {
        for alphabet in [&b"abcdefghijklmnopqrstuvwxyz"[..], b"acgt", b"ab"] {
            let text: Vec<u8> = (0..LONG).map(|_| rng.one_of(alphabet)).collect();
            check_piece(encoding, "random letters", &text);
        }
    }
}

#[test]
fn random_bytes() {
    let mut rng = Rng::new(8);
    let bytes: Vec<u8> = (0..LONG).map(|_| rng.next() as u8).collect();
    for encoding in ENCODINGS {
        check(encoding, "random bytes", &bytes, Words::of(encoding).count(&bytes));
    }
}

/// Longer than what tiktoken's regular expressions survive.
#[test]
fn a_mebibyte_ends() {
    let mut rng = Rng::new(9);
    let letters: String = (0..VERY_LONG).map(|_| rng.one_of(&['a', 'b', 'e', 'n', 's', 't'])).collect();
    let spaces = " ".repeat(VERY_LONG);
    let texts =
        [("spaces", spaces.clone()), ("newline and spaces", format!("\n{spaces}")), ("letters", letters)];
    for encoding in ENCODINGS {
        for (name, text) in &texts {
            check(encoding, name, text.as_bytes(), count(encoding, text));
        }
    }
}
