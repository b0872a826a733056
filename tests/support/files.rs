//! The repository's own files.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, or the file itself; nothing where there is neither.
pub(crate) fn rust_files(at: &Path) -> Vec<PathBuf> {
    if !at.is_dir() {
        let is_rust = at.is_file() && at.extension().is_some_and(|extension| extension == "rs");
        return if is_rust { vec![at.to_owned()] } else { Vec::new() };
    }
    let mut below: Vec<PathBuf> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
    below.sort_unstable();
    below.iter().flat_map(|path| rust_files(path)).collect()
}
