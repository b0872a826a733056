//! Lays out the tables of the vocabularies as files that the program reads in place, so that it can
//! count as soon as it starts.
//!
//! tiktoken-rs carries the published rank files but shows them only through a finished encoder,
//! which takes longer to make and more memory to hold than all our tables. So it is made here,
//! once. `src/tokens/layout.rs` says what the files are.

use std::error::Error;
use std::path::Path;
use std::{env, fs, thread};

use tiktoken_rs::CoreBPE;

#[path = "src/tokens/layout.rs"]
#[allow(dead_code)] // the reading half
mod layout;
#[path = "src/tokens/build/perfect.rs"]
mod perfect;
#[path = "src/tokens/build/trie.rs"]
mod trie;
#[path = "src/tokens/build/vocabulary.rs"]
mod vocabulary;

/// Ranks below which all tokens are text; the special tokens come after.
const O200K_TEXT_TOKENS: u32 = 199_998;
const CL100K_TEXT_TOKENS: u32 = 100_256;
const R50K_TEXT_TOKENS: u32 = 50_256;

/// p50k_base is r50k_base and, after the special token, runs of spaces.
const P50K_SPACES: std::ops::Range<u32> = 50_257..50_281;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // The crate of the fuzz targets, one level down, uses this file as well.
    let root = if Path::new("src/tokens").exists() { "." } else { ".." };
    for path in ["build.rs", "src/tokens/build", "src/tokens/layout.rs"] {
        println!("cargo::rerun-if-changed={root}/{path}");
    }
    let directory = env::var("OUT_DIR")?;
    let directory = directory.as_ref();
    let o200k = || write("o200k_base", &tiktoken_rs::o200k_base()?, 0..O200K_TEXT_TOKENS, directory);
    let others = || {
        write("cl100k_base", &tiktoken_rs::cl100k_base()?, 0..CL100K_TEXT_TOKENS, directory)?;
        let p50k = (0..R50K_TEXT_TOKENS).chain(P50K_SPACES);
        write("p50k_base", &tiktoken_rs::p50k_base()?, p50k, directory)?;
        write("r50k_base", &tiktoken_rs::r50k_base()?, 0..R50K_TEXT_TOKENS, directory)
    };
    thread::scope(|scope| {
        let others = scope.spawn(others);
        o200k()?;
        others.join().unwrap_or_else(|_| Err("the tables of cl100k_base and older could not be made".into()))
    })
}

fn write(
    name: &str,
    encoder: &CoreBPE,
    ranks: impl Iterator<Item = u32>,
    directory: &Path,
) -> Result<(), Failure> {
    let tokens = ranks
        .map(|rank| encoder.decode_bytes(&[rank]).map_err(|error| format!("rank {rank}: {error:?}")))
        .collect::<Result<Vec<_>, _>>()?;
    for (table, bytes) in vocabulary::tables(&tokens)? {
        fs::write(directory.join(format!("{name}.{table}")), bytes)?;
    }
    Ok(())
}
