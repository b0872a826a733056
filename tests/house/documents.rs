//! The documents say what the code says, and a word that they explain stands in one table only.
//!
//! `TOKENWEIR_UPDATE=1 cargo test --release --test house documents` writes the tables anew.

use std::fs;
use std::path::{Path, PathBuf};

use metering::usage::Reason;
use strum::VariantArray;
use tokenweir::config::settings;
use tokenweir::telemetry::Metrics;

use crate::support::documents::check;
use crate::support::files::root;

/// What somebody reads who has a minute.
const README_LINES_MAX: usize = 150;

/// The pages that a reader meets, from the root.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let docs = docs.map(|page| page.strip_prefix(root()).unwrap().to_owned());
    ["README.md", "ARCHITECTURE.md"].map(PathBuf::from).into_iter().chain(docs).collect()
}

#[test]
fn the_tables_are_the_codes_own() {
    check("settings", &settings::markdown());
    check("metrics", &Metrics::new().unwrap().markdown());
    check("events", &Reason::markdown());
}

#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= README_LINES_MAX, "README has {} lines", readme.lines().count());
    for page in pages() {
        let name = page.to_str().unwrap();
        assert!(name == "README.md" || readme.contains(&format!("`{name}`")), "README does not name {name}");
    }
}

/// Every file that a page names in code quotes is there, whatever moves.
#[test]
fn every_file_that_a_page_names_is_there() {
    const FOLDERS: [&str; 8] =
        ["src/", "crates/", "fixtures/", "tests/", "benches/", "deploy/", "docs/", "fuzz/"];
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        for name in quoted.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
            let name = name.split(' ').next().unwrap();
            assert!(root().join(name).exists(), "{} names {name}, which is not there", page.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} names were found: the search is broken");
}

/// Words of `accounting.reasons` that stand elsewhere as well, as they are also words of the APIs, of outcomes,
/// of rules, or parts of a bill.
const ALSO_OTHER_WORDS: [&str; 17] = [
    "audio",
    "background",
    "best_of",
    "compaction",
    "content_filter",
    "custom_tool",
    "echo",
    "encoding",
    "file",
    "image",
    "json_schema",
    "odd_path",
    "prediction",
    "rejected",
    "suffix",
    "timeout",
    "tool_choice",
];

/// A reason is a variant of `usage::Reason`: its word stands in no source but as that.
#[test]
fn reasons_stand_in_their_table_only() {
    let words = Reason::VARIANTS.iter().map(|reason| reason.as_str());
    let words: Vec<_> = words.filter(|word| !ALSO_OTHER_WORDS.contains(word)).collect();
    let mut found = Vec::new();
    for file in ["src", "crates/metering/src"].iter().flat_map(|package| rust_files(&root().join(package))) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            continue;
        }
        for word in &words {
            let literals = [format!("\"{word}\""), format!("\"input:{word}\""), format!("\"output:{word}\"")];
            if literals.iter().any(|literal| source.contains(literal)) {
                found.push(format!("  {name}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "reasons as literals:\n{}", found.join("\n"));
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    own.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}
