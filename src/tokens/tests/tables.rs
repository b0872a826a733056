//! The vocabularies are what the counting relies on.

use crate::tokens::Encoding;
use crate::tokens::tables::{Tables, is_loaded, load};
use crate::tokens::vocabulary::{TOKEN_BYTES_MAX, Vocabulary, VocabularyError};

#[test]
fn loading_makes_both() {
    load();
    assert!(is_loaded());
    assert_eq!(Tables::of(Encoding::O200kBase).vocabulary.tokens().count(), 199_998);
    assert_eq!(Tables::of(Encoding::Cl100kBase).vocabulary.tokens().count(), 100_256);
}

#[test]
fn the_tokens_are_those_of_tiktoken() {
    for (encoding, tiktoken) in [
        (Encoding::O200kBase, tiktoken_rs::o200k_base().unwrap()),
        (Encoding::Cl100kBase, tiktoken_rs::cl100k_base().unwrap()),
    ] {
        let vocabulary = &Tables::of(encoding).vocabulary;
        for rank in 0..vocabulary.tokens().count() as u32 {
            let bytes = vocabulary.tokens().bytes(rank);
            assert_eq!(bytes, tiktoken.decode_bytes(&[rank]).unwrap());
            assert_eq!(vocabulary.rank(bytes), Some(rank));
            assert!((1..=TOKEN_BYTES_MAX).contains(&bytes.len()));
        }
    }
}

/// The method for long pieces needs it: joining neighbours by rank, a token's bytes become the token.
#[test]
fn every_token_encodes_to_itself() {
    for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
        let vocabulary = &Tables::of(encoding).vocabulary;
        for rank in 0..vocabulary.tokens().count() as u32 {
            assert_eq!(encode(vocabulary, vocabulary.tokens().bytes(rank)), [rank]);
        }
    }
}

/// Byte pair encoding by the definition: join what makes the token of the lowest rank, leftmost first.
fn encode(vocabulary: &Vocabulary, bytes: &[u8]) -> Vec<u32> {
    let mut parts: Vec<&[u8]> = bytes.chunks(1).collect();
    let start_of = |parts: &[&[u8]], at: usize| parts[..at].iter().map(|part| part.len()).sum::<usize>();
    loop {
        let joined = |at: usize, parts: &[&[u8]]| [parts[at], parts[at + 1]].concat();
        let best =
            (0..parts.len() - 1).filter_map(|at| Some((vocabulary.rank(&joined(at, &parts))?, at))).min();
        let Some((_, at)) = best else { break };
        let start = start_of(&parts, at);
        parts[at] = &bytes[start..start + parts[at].len() + parts[at + 1].len()];
        parts.remove(at + 1);
    }
    parts.iter().map(|part| vocabulary.rank(part).unwrap()).collect()
}

fn flat(tokens: &[&[u8]]) -> Vec<u8> {
    let mut list = (tokens.len() as u32).to_le_bytes().to_vec();
    list.extend(tokens.iter().map(|token| token.len() as u8));
    list.extend(tokens.concat());
    list
}

fn error_of(list: &[u8]) -> VocabularyError {
    Vocabulary::from_flat(list).map(|_| ()).unwrap_err()
}

#[test]
fn a_list_that_is_no_vocabulary_is_refused() {
    let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    let mut tokens: Vec<&[u8]> = bytes.iter().map(|byte| &byte[..]).collect();
    assert!(Vocabulary::from_flat(&flat(&tokens)).is_ok());

    assert_eq!(error_of(&flat(&tokens[1..])), VocabularyError::MissingByte(0));
    assert_eq!(error_of(&[1, 0]), VocabularyError::Length);
    assert_eq!(error_of(&flat(&tokens)[..500]), VocabularyError::Length);
    assert_eq!(error_of(&[flat(&tokens), vec![0]].concat()), VocabularyError::Length);

    tokens.push(b"abc");
    assert_eq!(error_of(&flat(&tokens)), VocabularyError::Unreachable(256));
    tokens[256] = b"bc";
    tokens.push(b"ab");
    tokens.push(b"abc");
    assert!(Vocabulary::from_flat(&flat(&tokens)).is_ok());
    tokens.swap(257, 258);
    assert!(Vocabulary::from_flat(&flat(&tokens)).is_ok());
    tokens[257] = b"";
    assert_eq!(error_of(&flat(&tokens)), VocabularyError::TokenLength(257));
    tokens[257] = &[b'a'; 129];
    assert_eq!(error_of(&flat(&tokens)), VocabularyError::TokenLength(257));
}
