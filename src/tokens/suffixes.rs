//! Which tokens end at a byte of a long piece: an Aho-Corasick automaton over the tokens.
//!
//! A node of the trie is the beginning of some token. The automaton stands on the longest such
//! beginning that is a suffix of what was read, and steps with each byte; when no token goes on with
//! the byte, it falls back to the next shorter suffix. Each step is a few lookups on average, however
//! long the piece.

use super::packed::PackedMap;
use super::vocabulary::{Rank, TOKEN_BYTES_MAX, Tokens};

/// A node of the trie. Nodes are numbered by depth, so what a node falls back to has a lower number.
pub(super) type Node = u32;

/// The node of the empty text, where reading begins.
pub(super) const ROOT: Node = 0;

/// No token.
const NONE: Rank = Rank::MAX;

/// The automaton.
pub(super) struct Suffixes {
    /// From a node and a byte to the node of one byte more.
    edges: PackedMap,
    nodes: Vec<NodeEntry>,
    tokens: Vec<TokenEntry>,
}

#[derive(Clone, Copy)]
struct NodeEntry {
    /// The node of the longest proper suffix that has one.
    fallback: Node,
    /// The longest token that is a suffix.
    longest: Rank,
}

#[derive(Clone, Copy)]
struct TokenEntry {
    node: Node,
    /// The longest token that is a proper suffix.
    shorter: Rank,
}

impl Suffixes {
    /// Builds the trie level by level, so that all shorter suffixes are there when a node is made.
    pub(super) fn new(tokens: &Tokens) -> Suffixes {
        let count = tokens.count();
        // Both vocabularies have about 2.1 nodes a token; a map with too little room would only be slow.
        let mut suffixes = Suffixes {
            edges: PackedMap::with_room_for(count * 5 / 2),
            nodes: vec![NodeEntry { fallback: ROOT, longest: NONE }],
            tokens: vec![TokenEntry { node: ROOT, shorter: NONE }; count],
        };
        let mut unfinished: Vec<Rank> = (0..count as Rank).collect();
        for depth in 0..TOKEN_BYTES_MAX {
            unfinished.retain(|&rank| tokens.len(rank) > depth);
            for &rank in &unfinished {
                let node = suffixes.grow(suffixes.tokens[rank as usize].node, tokens.bytes(rank)[depth]);
                let token = &mut suffixes.tokens[rank as usize];
                token.node = node;
                if tokens.len(rank) == depth + 1 {
                    token.shorter = suffixes.nodes[node as usize].longest;
                    suffixes.nodes[node as usize].longest = rank;
                }
            }
        }
        suffixes
    }

    /// The child of `node`, made if it is not there.
    fn grow(&mut self, node: Node, byte: u8) -> Node {
        if let Some(child) = self.edges.get(edge(node, byte)) {
            return child;
        }
        let fallback = if node == ROOT { ROOT } else { self.step(self.nodes[node as usize].fallback, byte) };
        let child = self.nodes.len() as Node;
        self.edges.insert(edge(node, byte), child);
        self.nodes.push(NodeEntry { fallback, longest: self.nodes[fallback as usize].longest });
        child
    }

    /// The node after one more byte.
    #[inline(always)]
    pub(super) fn step(&self, mut node: Node, byte: u8) -> Node {
        loop {
            if let Some(child) = self.edges.get(edge(node, byte)) {
                return child;
            }
            if node == ROOT {
                return ROOT;
            }
            node = self.nodes[node as usize].fallback;
        }
    }

    /// The tokens that end where the automaton stands, the longest first.
    #[inline(always)]
    pub(super) fn ending_at(&self, node: Node) -> impl Iterator<Item = Rank> {
        self.chain(self.nodes[node as usize].longest)
    }

    /// The tokens that are proper suffixes of a token, the longest first.
    pub(super) fn shorter(&self, token: Rank) -> impl Iterator<Item = Rank> {
        self.chain(self.tokens[token as usize].shorter)
    }

    #[inline(always)]
    fn chain(&self, first: Rank) -> impl Iterator<Item = Rank> {
        let known = |token: Rank| (token != NONE).then_some(token);
        std::iter::successors(known(first), move |&token| known(self.tokens[token as usize].shorter))
    }

    /// The token that is `token` and one more byte.
    #[inline(always)]
    pub(super) fn grown(&self, token: Rank, byte: u8) -> Option<Rank> {
        let node = self.edges.get(edge(self.tokens[token as usize].node, byte))?;
        let longest = self.nodes[node as usize].longest;
        (longest != NONE && self.tokens[longest as usize].node == node).then_some(longest)
    }
}

#[inline(always)]
fn edge(node: Node, byte: u8) -> u64 {
    u64::from(node) << 8 | u64::from(byte)
}
