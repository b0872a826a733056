//! The tokens as tiktoken has them, and encodings by the definition.

use std::collections::HashMap;
use std::sync::OnceLock;

use tiktoken_rs::CoreBPE;

use crate::tokens::Encoding;
use crate::tokens::layout::Rank;

pub(super) const ENCODINGS: [Encoding; 2] = [Encoding::O200kBase, Encoding::Cl100kBase];

/// Tokens of an encoding without the special ones.
pub(super) fn token_count(encoding: Encoding) -> usize {
    match encoding {
        Encoding::O200kBase => 199_998,
        Encoding::Cl100kBase => 100_256,
    }
}

/// The published vocabulary.
pub(super) struct Words {
    pub(super) tiktoken: CoreBPE,
    pub(super) tokens: Vec<Vec<u8>>,
    ranks: HashMap<Vec<u8>, Rank>,
}

impl Words {
    pub(super) fn of(encoding: Encoding) -> &'static Words {
        static O200K: OnceLock<Words> = OnceLock::new();
        static CL100K: OnceLock<Words> = OnceLock::new();
        match encoding {
            Encoding::O200kBase => {
                O200K.get_or_init(|| Words::new(tiktoken_rs::o200k_base().unwrap(), encoding))
            }
            Encoding::Cl100kBase => {
                CL100K.get_or_init(|| Words::new(tiktoken_rs::cl100k_base().unwrap(), encoding))
            }
        }
    }

    fn new(tiktoken: CoreBPE, encoding: Encoding) -> Words {
        let ranks = 0..token_count(encoding) as Rank;
        let tokens: Vec<_> = ranks.map(|rank| tiktoken.decode_bytes(&[rank]).unwrap()).collect();
        let ranks = tokens.iter().cloned().zip(0..).collect();
        Words { tiktoken, tokens, ranks }
    }

    pub(super) fn rank(&self, bytes: &[u8]) -> Option<Rank> {
        self.ranks.get(bytes).copied()
    }

    /// Tokens of a whole text, as tiktoken counts them.
    pub(super) fn count(&self, bytes: &[u8]) -> u64 {
        self.tiktoken.encode_ordinary(&String::from_utf8_lossy(bytes)).len() as u64
    }

    /// Byte pair encoding of one piece by the definition: join what makes the token of the lowest
    /// rank, leftmost first.
    pub(super) fn encode(&self, piece: &[u8]) -> Vec<Rank> {
        let mut borders: Vec<usize> = (0..=piece.len()).collect();
        let join = |borders: &[usize], at: usize| self.rank(&piece[borders[at]..borders[at + 2]]);
        while let Some((_, at)) =
            (0..borders.len().saturating_sub(2)).filter_map(|at| Some((join(&borders, at)?, at))).min()
        {
            borders.remove(at + 1);
        }
        borders.windows(2).map(|token| self.rank(&piece[token[0]..token[1]]).unwrap()).collect()
    }
}
