//! All tables of one vocabulary, made from the list of its tokens.
//!
//! Byte pair encoding starts from single bytes and again and again joins the two neighbours whose
//! joined bytes are the token of the lowest rank, the leftmost first among equals.

use std::collections::HashMap;

use super::layout::{self, SHORT_BYTES_MAX, TOKEN_BYTES_MAX, TokenEntry, TokenEntryParts};
use super::{perfect, trie};

type Ranks<'a> = HashMap<&'a [u8], u32>;

/// The files, by name.
pub(crate) fn tables(tokens: &[Vec<u8>]) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let ranks: Ranks<'_> = tokens.iter().map(Vec::as_slice).zip(0..).collect();
    if tokens.len() >= layout::NO_RANK as usize || tokens.iter().any(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err("a vocabulary this large needs another layout".to_owned());
    }
    if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key(&[*byte][..])) {
        return Err(format!("byte {byte} is not a token"));
    }
    let parts = (0..)
        .zip(tokens)
        .map(|(rank, token)| parts(&ranks, token).ok_or(format!("token {rank} cannot be arrived at")))
        .collect::<Result<Vec<_>, _>>()?;

    let short: Vec<u128> = tokens
        .iter()
        .filter(|token| token.len() <= SHORT_BYTES_MAX)
        .map(|token| layout::short_key(token))
        .collect();
    let short = perfect::place(&short, layout::hash_short).ok_or("no perfect hash of the tokens")?;
    let joins: Vec<(u64, u32)> = (0..)
        .zip(&parts)
        .filter(|(rank, parts)| **parts != (*rank, *rank))
        .map(|(rank, parts)| (layout::pair_key(parts.0, parts.1), rank))
        .collect();
    let joined =
        perfect::place(&joins, |(key, _)| layout::hash_pair(key)).ok_or("no perfect hash of the joins")?;
    let trie = trie::build(tokens).ok_or("the trie is too large")?;
    let entries =
        tokens.iter().zip(&parts).zip(&trie.tokens).map(|((token, parts), &(node, suffix, prefix))| {
            let len = token.len() as u8;
            TokenEntry::new(&TokenEntryParts { left: parts.0, right: parts.1, suffix, prefix, node, len })
        });

    Ok(vec![
        ("short", short.slots.iter().flat_map(|key| key.unwrap_or(0).to_le_bytes()).collect()),
        ("short.buckets", short.buckets.iter().flat_map(|bucket| bucket.0.to_le_bytes()).collect()),
        (
            "joined",
            joined
                .slots
                .iter()
                .flat_map(|join| {
                    join.map_or(layout::NO_JOIN, |(key, rank)| layout::join(key, rank)).to_le_bytes()
                })
                .collect(),
        ),
        ("joined.buckets", joined.buckets.iter().flat_map(|bucket| bucket.0.to_le_bytes()).collect()),
        ("steps", trie.steps.iter().flat_map(|step| step.0.to_le_bytes()).collect()),
        ("links", trie.links.iter().flat_map(|link| link.0.to_le_bytes()).collect()),
        ("tokens", entries.flat_map(|token| token.0.to_le_bytes()).collect()),
    ])
}

/// The two tokens that the last join makes a token of, by the definition; a single byte is made of
/// itself. `None` if joining does not arrive at the token: it could not encode to itself, which the
/// method for long pieces relies on.
fn parts(ranks: &Ranks<'_>, token: &[u8]) -> Option<(u32, u32)> {
    let rank = |from: usize, to: usize| ranks.get(&token[from..to]).copied();
    // Where the tokens begin, and the end.
    let mut borders: Vec<usize> = (0..=token.len()).collect();
    let mut joins: Vec<Option<u32>> = borders.windows(3).map(|pair| rank(pair[0], pair[2])).collect();
    while borders.len() > 3 {
        let (_, at) = joins.iter().zip(0..).filter_map(|(join, at)| Some(((*join)?, at))).min()?;
        let at: usize = at;
        borders.remove(at + 1);
        joins.remove(at);
        if at > 0 {
            joins[at - 1] = rank(borders[at - 1], borders[at + 1]);
        }
        if at < joins.len() {
            joins[at] = rank(borders[at], borders[at + 2]);
        }
    }
    match borders[..] {
        [from, to] => Some((rank(from, to)?, rank(from, to)?)),
        [from, middle, to] => Some((rank(from, middle)?, rank(middle, to)?)),
        _ => None,
    }
}
