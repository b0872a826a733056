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

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let directory = env::var("OUT_DIR")?;
    let directory = Path::new(&directory);
    let o200k = flat_file(&tiktoken_rs::o200k_base()?, O200K_TEXT_TOKENS)?;
    fs::write(directory.join("o200k_base.tokens"), o200k)?;
    let cl100k = flat_file(&tiktoken_rs::cl100k_base()?, CL100K_TEXT_TOKENS)?;
    fs::write(directory.join("cl100k_base.tokens"), cl100k)?;
    Ok(())
}

fn flat_file(encoder: &CoreBPE, tokens: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut lengths = Vec::new();
    let mut bytes = Vec::new();
    for rank in 0..tokens {
        let token = encoder.decode_bytes(&[rank]).map_err(|e| format!("rank {rank}: {e:?}"))?;
        lengths.push(u8::try_from(token.len())?);
        bytes.extend(token);
    }
    Ok([&tokens.to_le_bytes()[..], &lengths[..], &bytes[..]].concat())
}
