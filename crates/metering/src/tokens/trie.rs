//! Which tokens begin and which end at a place of a text: the trie of all tokens, read in place.
//!
//! A node is the beginning of some token. With its links the trie is an Aho-Corasick automaton: it
//! stands on the longest beginning that is a suffix of what was read, and steps with each byte; when
//! no token goes on with the byte, it falls back to the next shorter suffix. Each step is a few
//! lookups on average, however long the text.

use super::layout::{Link, NO_RANK, Rank, Step, TokenEntry};
use super::perfect::Entries;

/// A node of the trie.
pub(super) type Node = u32;

/// The node of the empty text, where reading begins.
pub(super) const ROOT: Node = 0;

/// The trie, its links, and what belongs to each token.
#[derive(Clone, Copy)]
pub(super) struct Trie {
    pub(super) steps: Entries<4>,
    pub(super) links: Entries<8>,
    pub(super) tokens: Entries<16>,
}

impl Trie {
    #[inline(always)]
    fn at(&self, node: Node) -> Step {
        Step(u32::from_le_bytes(self.steps[node as usize]))
    }

    #[inline(always)]
    fn link(&self, node: Node) -> Link {
        Link(u64::from_le_bytes(self.links[node as usize]))
    }

    /// The properties of a token.
    #[inline(always)]
    pub(super) fn token(&self, rank: Rank) -> TokenEntry {
        TokenEntry(u128::from_le_bytes(self.tokens[rank as usize]))
    }

    /// The node of one byte more, if some token begins so.
    #[inline(always)]
    fn child(&self, step: Step, byte: u8) -> Option<(Node, Step)> {
        let node = step.child(byte);
        let child = self.at(node);
        child.is_by(byte).then_some((node, child))
    }

    /// The node after one more byte.
    #[inline(always)]
    pub(super) fn step(&self, mut node: Node, byte: u8) -> Node {
        loop {
            if let Some((child, _)) = self.child(self.at(node), byte) {
                return child;
            }
            if node == ROOT {
                return ROOT;
            }
            node = self.link(node).fallback();
        }
    }

    /// The longest token that begins a text, which must not be empty.
    #[inline(always)]
    pub(super) fn longest(&self, text: &[u8]) -> Rank {
        let mut step = self.at(ROOT);
        let mut longest = ROOT;
        for &byte in text {
            let Some((node, child)) = self.child(step, byte) else { break };
            if child.is_token() {
                longest = node;
            }
            step = child;
        }
        self.link(longest).longest()
    }

    /// Is this whole text a token?
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        let mut step = self.at(ROOT);
        for &byte in text {
            let Some((_, child)) = self.child(step, byte) else { return false };
            step = child;
        }
        step.is_token()
    }

    /// The tokens that end where the automaton stands, the longest first.
    #[inline(always)]
    pub(super) fn ending_at(&self, node: Node) -> impl Iterator<Item = Rank> {
        let known = |token: Rank| (token != NO_RANK).then_some(token);
        let first = known(self.link(node).longest());
        std::iter::successors(first, move |&token| known(self.token(token).suffix()))
    }
}
