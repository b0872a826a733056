//! Writes the vocabularies as flat files, so that the program reads them without decoding base64
//! or filling hash maps first.
//!
//! tiktoken-rs carries the published rank files but shows them only through a finished encoder,
//! which takes longer to make and more memory to hold than all our tables. So it is made here,
//! once, at build time.
//!
//! A file is: the number of tokens (u32, little endian), one byte of length for each token, then
//! the bytes of all tokens, both in rank order. `src/tokens/vocabulary.rs` reads it.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use tiktoken_rs::CoreBPE;

/// Ranks below which all tokens are text; the special tokens come after.
const O200K_TEXT_TOKENS: u32 = 199_998;
const CL100K_TEXT_TOKENS: u32 = 100_256;
const R50K_TEXT_TOKENS: u32 = 50_256;

/// p50k_base is r50k_base and, after the special token, runs of spaces.
const P50K_SPACES: std::ops::Range<u32> = 50_257..50_281;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let directory = env::var("OUT_DIR")?;
    let directory = Path::new(&directory);
    let o200k = flat_file(&tiktoken_rs::o200k_base()?, 0..O200K_TEXT_TOKENS)?;
    fs::write(directory.join("o200k_base.tokens"), o200k)?;
    let cl100k = flat_file(&tiktoken_rs::cl100k_base()?, 0..CL100K_TEXT_TOKENS)?;
    fs::write(directory.join("cl100k_base.tokens"), cl100k)?;
    let p50k = flat_file(&tiktoken_rs::p50k_base()?, (0..R50K_TEXT_TOKENS).chain(P50K_SPACES))?;
    fs::write(directory.join("p50k_base.tokens"), p50k)?;
    let r50k = flat_file(&tiktoken_rs::r50k_base()?, 0..R50K_TEXT_TOKENS)?;
    fs::write(directory.join("r50k_base.tokens"), r50k)?;
    Ok(())
}

fn flat_file(encoder: &CoreBPE, ranks: impl Iterator<Item = u32>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut lengths = Vec::new();
    let mut bytes = Vec::new();
    for rank in ranks {
        let token = encoder.decode_bytes(&[rank]).map_err(|e| format!("rank {rank}: {e:?}"))?;
        lengths.push(u8::try_from(token.len())?);
        bytes.extend(token);
    }
    let tokens = u32::try_from(lengths.len())?;
    Ok([&tokens.to_le_bytes()[..], &lengths[..], &bytes[..]].concat())
}
