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
    /// The node of the longest proper suffix that has one.
    fallback: Vec<Node>,
    /// The longest token that is a suffix of the node's bytes.
    longest: Vec<Rank>,
    /// The longest token that is a proper suffix of a token.
    shorter: Vec<Rank>,
    /// The node of each token.
    nodes: Vec<Node>,
}

impl Suffixes {
    /// Builds the trie level by level, so that all shorter suffixes are there when a node is made.
    pub(super) fn new(tokens: &Tokens) -> Suffixes {
        let count = tokens.count();
        // Both vocabularies have about 2.1 nodes a token; a map with too little room would only be slow.
        let mut suffixes = Suffixes {
            edges: PackedMap::with_room_for(count * 5 / 2),
            fallback: vec![ROOT],
            longest: vec![NONE],
            shorter: vec![NONE; count],
            nodes: vec![ROOT; count],
        };
        let mut unfinished: Vec<Rank> = (0..count as Rank).collect();
        for depth in 0..TOKEN_BYTES_MAX {
            unfinished.retain(|&rank| tokens.len(rank) > depth);
            for &rank in &unfinished {
                let node = suffixes.grow(suffixes.nodes[rank as usize], tokens.bytes(rank)[depth]);
                suffixes.nodes[rank as usize] = node;
                if tokens.len(rank) == depth + 1 {
                    suffixes.shorter[rank as usize] = suffixes.longest[node as usize];
                    suffixes.longest[node as usize] = rank;
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
        let fallback = if node == ROOT { ROOT } else { self.step(self.fallback[node as usize], byte) };
        let child = self.fallback.len() as Node;
        self.edges.insert(edge(node, byte), child);
        self.fallback.push(fallback);
        self.longest.push(self.longest[fallback as usize]);
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
            node = self.fallback[node as usize];
        }
    }

    /// The tokens that end where the automaton stands, the longest first.
    #[inline(always)]
    pub(super) fn ending_at(&self, node: Node) -> impl Iterator<Item = Rank> {
        self.chain(self.longest[node as usize])
    }

    /// The tokens that are proper suffixes of a token, the longest first.
    pub(super) fn shorter(&self, token: Rank) -> impl Iterator<Item = Rank> {
        self.chain(self.shorter[token as usize])
    }

    #[inline(always)]
    fn chain(&self, first: Rank) -> impl Iterator<Item = Rank> {
        let known = |token: Rank| (token != NONE).then_some(token);
        std::iter::successors(known(first), move |&token| known(self.shorter[token as usize]))
    }

    /// The token that is `token` and one more byte.
    #[inline(always)]
    pub(super) fn grown(&self, token: Rank, byte: u8) -> Option<Rank> {
        let node = self.edges.get(edge(self.nodes[token as usize], byte))?;
        let longest = self.longest[node as usize];
        (longest != NONE && self.nodes[longest as usize] == node).then_some(longest)
    }
}

#[inline(always)]
fn edge(node: Node, byte: u8) -> u64 {
    u64::from(node) << 8 | u64::from(byte)
}
