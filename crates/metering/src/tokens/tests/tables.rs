//! The tables are what the counting relies on: each is compared with the published vocabulary.

use super::texts::Rng;
use super::words::{ENCODINGS, Words, token_count};
use crate::tokens::backtrack;
use crate::tokens::layout::{NO_RANK, Rank};
use crate::tokens::tables::{Tables, is_loaded, load};
use crate::tokens::trie::ROOT;

#[test]
fn loading_makes_both() {
    load();
    assert!(is_loaded());
    for encoding in ENCODINGS {
        assert_eq!(Tables::of(encoding).vocabulary.token_count(), token_count(encoding));
    }
}

#[test]
fn the_tokens_are_those_of_tiktoken() {
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        for (rank, bytes) in (0..).zip(&words.tokens) {
            assert!(vocabulary.is_token(bytes), "rank {rank}");
            assert_eq!(vocabulary.trie.longest(bytes), rank);
            assert_eq!(vocabulary.token(rank).len(), bytes.len());
        }
    }
}

/// Texts of all lengths that are nearly tokens.
#[test]
fn nothing_else_is_a_token() {
    let mut rng = Rng::new(3);
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        for _ in 0..400_000 {
            let mut bytes = words.tokens[rng.below(words.tokens.len())].clone();
            let at = rng.below(bytes.len());
            match rng.below(5) {
                0 => bytes[at] = rng.next() as u8,
                1 => bytes[at] ^= 0x20,
                2 => bytes.truncate(at + 1),
                3 => bytes.push(rng.one_of(b"\0 e\xC3s\n")),
                _ => bytes.extend(&words.tokens[rng.below(words.tokens.len())]),
            }
            assert_eq!(vocabulary.is_token(&bytes), words.rank(&bytes).is_some(), "{bytes:?}");
        }
    }
}

/// The two tokens that a token was made of, its longest beginning and its longest end.
#[test]
fn what_belongs_to_a_token() {
    let known = |rank: Option<Rank>| rank.unwrap_or(NO_RANK);
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        for (rank, bytes) in (0..).zip(&words.tokens) {
            let token = vocabulary.token(rank);
            let (left, right) = (&words.tokens[token.left() as usize], &words.tokens[token.right() as usize]);
            if bytes.len() == 1 {
                assert_eq!((token.left(), token.right()), (rank, rank));
            } else {
                assert_eq!([left.as_slice(), right].concat(), *bytes);
                assert!(token.left() < rank && token.right() < rank);
                assert_eq!(vocabulary.joined(token.left(), token.right()), Some(rank));
            }
            let prefix = (1..bytes.len()).rev().find_map(|end| words.rank(&bytes[..end]));
            let suffix = (1..bytes.len()).find_map(|start| words.rank(&bytes[start..]));
            assert_eq!((token.prefix(), token.suffix()), (known(prefix), known(suffix)));
        }
    }
}

/// The method for long pieces needs it: joining neighbours by rank, a token's bytes become the token.
#[test]
fn every_token_encodes_to_itself() {
    for encoding in ENCODINGS {
        let words = Words::of(encoding);
        for (rank, bytes) in (0..).zip(&words.tokens) {
            assert_eq!(words.encode(bytes), [rank]);
        }
    }
}

#[test]
fn the_automaton_shows_what_ends_here() {
    let mut rng = Rng::new(5);
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        for _ in 0..3_000 {
            let text: Vec<u8> =
                (0..4).flat_map(|_| words.tokens[rng.below(words.tokens.len())].clone()).collect();
            let mut node = ROOT;
            for end in 1..=text.len() {
                node = vocabulary.trie.step(node, text[end - 1]);
                let found: Vec<Rank> = vocabulary.trie.ending_at(node).collect();
                let expected: Vec<Rank> =
                    (0..end).filter_map(|start| words.rank(&text[start..end])).collect();
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn two_tokens_fit_if_they_are_the_encoding_of_their_bytes() {
    let mut rng = Rng::new(6);
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        let mut fits = 0;
        for _ in 0..100_000 {
            // Neighbours that occur: what a text of two tokens encodes to, and a random pair.
            let (a, b) = (rng.below(words.tokens.len()), rng.below(words.tokens.len()));
            let text = [words.tokens[a].as_slice(), &words.tokens[b]].concat();
            let encoded = words.encode(&text);
            assert_eq!(vocabulary.may_follow(a as Rank, b as Rank), encoded == [a as Rank, b as Rank]);
            fits += u64::from(encoded.len() == 2);
            assert!(encoded.windows(2).all(|pair| vocabulary.may_follow(pair[0], pair[1])));
        }
        assert!(fits > 1_000);
    }
}

/// Any bytes, most of them far from any text.
#[test]
fn backtracking_counts_by_the_definition() {
    let mut rng = Rng::new(4);
    for encoding in ENCODINGS {
        let (vocabulary, words) = (&Tables::of(encoding).vocabulary, Words::of(encoding));
        for round in 0..20_000 {
            let len = if round % 400 == 0 { 900 } else { 70 };
            let alphabet =
                rng.one_of(&[&b"ab"[..], b"eatnrs ", b" \n\t=-", b"\xE4\xB8\xAD\xE6\x96\x87", b""]);
            let mut piece = Vec::new();
            while piece.len() < len {
                match alphabet {
                    b"" => piece.extend(&words.tokens[rng.below(words.tokens.len())]),
                    letters => piece.push(rng.one_of(letters)),
                }
            }
            piece.truncate(1 + rng.below(len));
            let expected = Some(words.encode(&piece).len() as u64);
            assert_eq!(backtrack::count(vocabulary, &piece), expected, "{piece:?}");
        }
    }
}
