//! The part of tokenweir that reads bytes from outside, as a crate of its own.
//!
//! It is compiled from the same files as the main crate, whose layers let these modules stand alone.
//! So the fuzz targets, which need all their code instrumented, are built without Kafka, TLS and the
//! ledger, whose C code takes ten minutes to compile.
#![forbid(unsafe_code)]
#![allow(dead_code)] // reason: what only the rest of the crate uses

#[path = "../../src/account/mod.rs"]
pub mod account;
#[path = "../../src/caller/mod.rs"]
pub mod caller;
#[path = "../../src/chunk/mod.rs"]
pub mod chunk;
#[path = "../../src/meter/mod.rs"]
pub mod meter;
#[path = "../../src/prompt/mod.rs"]
pub mod prompt;
#[path = "../../src/sse.rs"]
pub mod sse;
#[path = "../../src/tokens/mod.rs"]
pub mod tokens;
#[path = "../../src/usage/mod.rs"]
pub mod usage;

/// Where a text is cut: the first bytes of an input say.
pub struct Cuts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cuts<'a> {
    /// Takes the first bytes of an input, up to eight; the rest is the text.
    pub fn take(input: &'a [u8]) -> (Cuts<'a>, &'a [u8]) {
        let (bytes, text) = input.split_at(input.len().min(8));
        (Cuts { bytes, at: 0 }, text)
    }

    /// The pieces of a text, small and large, some of them empty.
    pub fn pieces<'t>(&mut self, mut text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let byte = self.bytes.get(self.at % self.bytes.len().max(1)).copied().unwrap_or(1);
            self.at += 1;
            let len = match byte {
                0 if pieces.last().is_none_or(|last: &&[u8]| !last.is_empty()) => 0,
                byte @ 0..200 => 1 + usize::from(byte % 16),
                byte => usize::from(byte) * 4,
            };
            let (piece, rest) = text.split_at(len.min(text.len()));
            pieces.push(piece);
            text = rest;
        }
        pieces
    }
}
