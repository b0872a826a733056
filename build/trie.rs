//! The trie of all tokens, with the links of an Aho-Corasick automaton, as a double array.

use std::collections::HashMap;

use crate::layout::{Link, NO_RANK, NODE_BITS, Step};

/// Bytes: the most children that a node can have.
const BYTES: usize = 256;

/// Where the children of the root begin, and where they end: all bytes are tokens.
const ROOT_CHILDREN: usize = 1;

/// A node while the trie is made, in the order of making.
#[derive(Default)]
struct Node {
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

pub(crate) struct Trie {
    pub(crate) steps: Vec<Step>,
    pub(crate) links: Vec<Link>,
    /// For each rank: its place in the double array, the longest token that is a proper suffix, and
    /// the longest that is a proper prefix.
    pub(crate) tokens: Vec<(u32, u32, u32)>,
}

/// The trie of `tokens`, or `None` if it is too large.
pub(crate) fn build(tokens: &[Vec<u8>]) -> Option<Trie> {
    let mut nodes = vec![Node { byte: u8::MAX, ..Node::default() }];
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
    Some(Trie { steps, links, tokens })
}

/// Makes all nodes; gives the one of each token.
fn grow(nodes: &mut Vec<Node>, tokens: &[Vec<u8>]) -> Vec<usize> {
    let mut known: HashMap<(usize, u8), usize> = HashMap::new();
    let mut ends = Vec::new();
    for (rank, token) in (0..).zip(tokens) {
        let mut at = 0;
        for &byte in token {
            at = *known.entry((at, byte)).or_insert_with(|| {
                let child = nodes.len();
                nodes.push(Node { byte, ..Node::default() });
                nodes[at].children.push((byte, child));
                child
            });
        }
        nodes[at].token = Some(rank);
        ends.push(at);
    }
    ends
}

fn breadth_first(nodes: &[Node]) -> Vec<usize> {
    let mut order = vec![0];
    let mut next = 0;
    while next < order.len() {
        order.extend(nodes[order[next]].children.iter().map(|&(_, child)| child));
        next += 1;
    }
    order
}

/// Sets `fallback` and `longest`; both of all shorter suffixes are set before.
fn link(nodes: &mut [Node], order: &[usize]) {
    for &at in order {
        for (byte, child) in nodes[at].children.clone() {
            let fallback = if at == 0 { 0 } else { step(nodes, nodes[at].fallback, byte) };
            nodes[child].fallback = fallback;
            nodes[child].longest = nodes[child].token.or(nodes[fallback].longest);
        }
    }
}

fn child(node: &Node, byte: u8) -> Option<usize> {
    node.children.iter().find(|&&(label, _)| label == byte).map(|&(_, child)| child)
}

fn step(nodes: &[Node], mut at: usize, byte: u8) -> usize {
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

fn longest_prefix(nodes: &[Node], token: &[u8]) -> u32 {
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
/// A node without children has base 0. What stands there are the root and its children, each one
/// place after the byte that it would have to be led to by.
fn place(nodes: &mut [Node], order: &[usize]) -> usize {
    let mut free = Free::default();
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
    free.taken.len() + BYTES
}

/// Which places and bases are free.
#[derive(Default)]
struct Free {
    taken: Vec<bool>,
    base_taken: Vec<bool>,
    /// All places before this one are taken, or nearly all.
    first: usize,
}

/// Places that may stay free among the first before the search leaves them behind.
const TRIES_MAX: usize = 400;

impl Free {
    fn is_taken(list: &[bool], at: usize) -> bool {
        list.get(at).copied().unwrap_or(false)
    }

    fn set(list: &mut Vec<bool>, at: usize) {
        if list.len() <= at {
            list.resize(at + 1, false);
        }
        list[at] = true;
    }

    fn take(&mut self, place: usize) {
        Free::set(&mut self.taken, place);
    }

    fn take_base(&mut self, base: usize) {
        Free::set(&mut self.base_taken, base);
    }

    /// The first base whose places for all `bytes` are free.
    fn base_for(&mut self, bytes: &[u8]) -> usize {
        while Free::is_taken(&self.taken, self.first) {
            self.first += 1;
        }
        let lead = usize::from(bytes.iter().copied().min().unwrap_or(0));
        let fits = |base: usize| {
            !Free::is_taken(&self.base_taken, base)
                && bytes.iter().all(|&byte| !Free::is_taken(&self.taken, base + usize::from(byte)))
        };
        let mut tries = 0;
        let mut at = self.first.max(lead + ROOT_CHILDREN + BYTES);
        loop {
            if !Free::is_taken(&self.taken, at) {
                if fits(at - lead) {
                    break;
                }
                tries += 1;
            }
            at += 1;
        }
        if tries > TRIES_MAX {
            self.first += TRIES_MAX / 8;
        }
        at - lead
    }
}
