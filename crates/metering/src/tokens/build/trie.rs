//! The trie of all tokens, with the links of an Aho-Corasick automaton, as a double array.

use std::collections::HashMap;

use super::layout::{Link, NO_RANK, NODE_BITS, Step};

/// Bytes: the most children that a node can have.
const BYTES: usize = 256;

/// Where the children of the root begin, and where they end: all bytes are tokens.
const ROOT_CHILDREN: usize = 1;

/// A node while the trie is made, in the order of making.
#[derive(Default)]
struct BuildNode {
    children: Vec<(u8, usize)>,
    byte: u8,
    token: Option<u32>,
    fallback: usize,
    longest: Option<u32>,
    /// Where it stands in the double array.
    place: usize,
    /// Where its children begin there.
    base: usize,
}

pub(crate) struct TrieTables {
    pub(crate) steps: Vec<Step>,
    pub(crate) links: Vec<Link>,
    /// For each rank: its place in the double array, the longest token that is a proper suffix, and
    /// the longest that is a proper prefix.
    pub(crate) tokens: Vec<(u32, u32, u32)>,
}

/// The trie of `tokens`, or `None` if it is too large.
pub(crate) fn build(tokens: &[Vec<u8>]) -> Option<TrieTables> {
    let mut nodes = vec![BuildNode { byte: u8::MAX, ..BuildNode::default() }];
    let ends = grow(&mut nodes, tokens);
    let order = breadth_first(&nodes);
    link(&mut nodes, &order);
    let size = place(&mut nodes, &order);
    if size >> NODE_BITS != 0 {
        return None;
    }
    let (mut steps, mut links) = (vec![Step(0); size], vec![Link(0); size]);
    for node in &nodes {
        steps[node.place] = Step::new(node.byte, node.token.is_some(), node.base as u32);
        links[node.place] = Link::new(nodes[node.fallback].place as u32, node.longest.unwrap_or(NO_RANK));
    }
    let tokens = tokens
        .iter()
        .zip(&ends)
        .map(|(token, &end)| {
            let suffix = nodes[nodes[end].fallback].longest.unwrap_or(NO_RANK);
            (nodes[end].place as u32, suffix, longest_prefix(&nodes, token))
        })
        .collect();
    Some(TrieTables { steps, links, tokens })
}

/// Makes all nodes; gives the one of each token.
fn grow(nodes: &mut Vec<BuildNode>, tokens: &[Vec<u8>]) -> Vec<usize> {
    let mut known: HashMap<(usize, u8), usize> = HashMap::new();
    let mut ends = Vec::new();
    for (rank, token) in (0..).zip(tokens) {
        let mut at = 0;
        for &byte in token {
            at = *known.entry((at, byte)).or_insert_with(|| {
                let child = nodes.len();
                nodes.push(BuildNode { byte, ..BuildNode::default() });
                nodes[at].children.push((byte, child));
                child
            });
        }
        nodes[at].token = Some(rank);
        ends.push(at);
    }
    ends
}

fn breadth_first(nodes: &[BuildNode]) -> Vec<usize> {
    let mut order = vec![0];
    let mut next = 0;
    while next < order.len() {
        order.extend(nodes[order[next]].children.iter().map(|&(_, child)| child));
        next += 1;
    }
    order
}

/// Sets `fallback` and `longest`; both of all shorter suffixes are set before.
fn link(nodes: &mut [BuildNode], order: &[usize]) {
    for &at in order {
        for (byte, child) in nodes[at].children.clone() {
            let fallback = if at == 0 { 0 } else { step(nodes, nodes[at].fallback, byte) };
            nodes[child].fallback = fallback;
            nodes[child].longest = nodes[child].token.or(nodes[fallback].longest);
        }
    }
}

fn child(node: &BuildNode, byte: u8) -> Option<usize> {
    node.children.iter().find(|&&(label, _)| label == byte).map(|&(_, child)| child)
}

fn step(nodes: &[BuildNode], mut at: usize, byte: u8) -> usize {
    loop {
        if let Some(child) = child(&nodes[at], byte) {
            return child;
        }
        if at == 0 {
            return 0;
        }
        at = nodes[at].fallback;
    }
}

fn longest_prefix(nodes: &[BuildNode], token: &[u8]) -> u32 {
    let (mut at, mut longest) = (0, NO_RANK);
    for &byte in &token[..token.len() - 1] {
        at = child(&nodes[at], byte).unwrap_or(0);
        longest = nodes[at].token.unwrap_or(longest);
    }
    longest
}

/// Gives each node its place, the root the first, and each node with children a base that no other
/// has. Returns the size of the array: for any base and byte there is an entry.
///
/// A node without children has base 0. The root and its children stand there, each one
/// place after the byte that it would have to be led to by.
fn place(nodes: &mut [BuildNode], order: &[usize]) -> usize {
    let mut free = Free::new();
    free.take(0);
    for &at in order {
        if nodes[at].children.is_empty() {
            continue;
        }
        let bytes: Vec<u8> = nodes[at].children.iter().map(|&(byte, _)| byte).collect();
        let base = if at == 0 { ROOT_CHILDREN } else { free.base_for(&bytes) };
        free.take_base(base);
        nodes[at].base = base;
        for (byte, child) in nodes[at].children.clone() {
            nodes[child].place = base + usize::from(byte);
            free.take(base + usize::from(byte));
        }
    }
    free.len + BYTES
}

/// Which places and bases are free.
struct Free {
    /// For each place, itself if it is free, else one after it that was free once: the way to the
    /// next free place, shortened whenever it is gone.
    next: Vec<usize>,
    base_taken: Vec<bool>,
    /// Where to search, by the number of children.
    starts: [usize; CLASSES],
    /// Places up to the last one that is taken.
    len: usize,
}

/// Numbers of children that are told apart: the last stands for all above.
const CLASSES: usize = 9;

/// Free places that did not fit, after which a search begins further on the next time. Nodes with
/// fewer children will fill what it leaves behind.
const TRIES_MAX: usize = 32;

impl Free {
    fn new() -> Free {
        let starts = [ROOT_CHILDREN + BYTES; CLASSES];
        Free { next: Vec::new(), base_taken: Vec::new(), starts, len: 0 }
    }

    /// The first free place from `at` on.
    fn from(&mut self, mut at: usize) -> usize {
        self.grow(at);
        while self.next[at] != at {
            let further = self.next[at];
            self.grow(further);
            self.next[at] = self.next[further];
            at = self.next[at];
            self.grow(at);
        }
        at
    }

    fn is_free(&mut self, at: usize) -> bool {
        self.grow(at);
        self.next[at] == at
    }

    fn take(&mut self, at: usize) {
        self.grow(at);
        self.next[at] = at + 1;
        self.len = self.len.max(at + 1);
    }

    fn take_base(&mut self, base: usize) {
        self.grow(base);
        self.base_taken[base] = true;
    }

    fn grow(&mut self, at: usize) {
        while self.next.len() <= at {
            self.next.push(self.next.len());
            self.base_taken.push(false);
        }
    }

    /// A base whose places for all `bytes` are free.
    fn base_for(&mut self, bytes: &[u8]) -> usize {
        let class = bytes.len().min(CLASSES - 1);
        let lead = usize::from(bytes.iter().copied().min().unwrap_or(0));
        let mut at = self.from(self.starts[class].max(lead + ROOT_CHILDREN + BYTES));
        let mut tries = 0;
        while self.base_taken[at - lead]
            || !bytes.iter().all(|&byte| self.is_free(at - lead + usize::from(byte)))
        {
            at = self.from(at + 1);
            tries += 1;
        }
        if tries > TRIES_MAX {
            self.starts[class] = at;
        }
        at - lead
    }
}
