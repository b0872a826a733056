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

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    for path in ["build.rs", "src/tokens/build", "src/tokens/layout.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let directory = env::var("OUT_DIR")?;
    let directory: &Path = directory.as_ref();
    let o200k = || write("o200k_base", &tiktoken_rs::o200k_base()?, O200K_TEXT_TOKENS, directory);
    let cl100k = || write("cl100k_base", &tiktoken_rs::cl100k_base()?, CL100K_TEXT_TOKENS, directory);
    let bytes = thread::scope(|scope| {
        let cl100k = scope.spawn(cl100k);
        let failed = |_| Err("the tables of cl100k_base could not be made".into());
        Ok::<_, Failure>(o200k()? + cl100k.join().unwrap_or_else(failed)?)
    })?;
    Ok(fs::write(directory.join("bytes"), bytes.to_string())?)
}

/// Writes the tables of one vocabulary; returns their bytes.
fn write(name: &str, encoder: &CoreBPE, text_tokens: u32, directory: &Path) -> Result<usize, Failure> {
    let tokens = (0..text_tokens)
        .map(|rank| encoder.decode_bytes(&[rank]).map_err(|error| format!("rank {rank}: {error:?}")))
        .collect::<Result<Vec<_>, _>>()?;
    let mut written = 0;
    for (table, bytes) in vocabulary::tables(&tokens)? {
        written += bytes.len();
        fs::write(directory.join(format!("{name}.{table}")), bytes)?;
    }
    Ok(written)
}
