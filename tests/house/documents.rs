//! The documents say what the code says.
//!
//! `TOKENWEIR_UPDATE=1 cargo test --release --test house documents` writes the tables anew.

use std::fs;
use std::path::PathBuf;

use metering::usage::Reason;
use tokenweir::config::settings;
use tokenweir::report::Cause;
use tokenweir::telemetry::Metrics;

use crate::support::documents::check;
use crate::support::files::root;

/// Lines that a reader who has a minute gets through.
const README_LINES_MAX: usize = 150;

/// The table of contents.
const BOOK: &str = "docs/README.md";

/// The pages that a reader meets, from the root.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let docs = docs.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let docs = docs.map(|page| page.strip_prefix(root()).unwrap().to_owned());
    ["README.md", "ARCHITECTURE.md"].map(PathBuf::from).into_iter().chain(docs).collect()
}

#[test]
fn the_tables_are_the_codes_own() {
    check("settings", &settings::markdown());
    check("metrics", &Metrics::new().unwrap().markdown());
    check("events", &Reason::markdown());
    check("traffic", &metering::api::markdown());
    check("reconcile", &Cause::markdown());
    check("reports", &tokenweir::report::columns_markdown());
}

#[test]
fn the_readme_is_short_and_names_the_book_which_names_every_page() {
    let read = |page: &str| fs::read_to_string(root().join(page)).unwrap();
    let (readme, book) = (read("README.md"), read(BOOK));
    assert!(readme.lines().count() <= README_LINES_MAX, "README has {} lines", readme.lines().count());
    assert!(readme.contains(&format!("`{BOOK}`")), "README does not name {BOOK}");
    for page in pages() {
        let name = page.to_str().unwrap();
        let is_named = ["README.md", BOOK].contains(&name) || book.contains(&format!("`{name}`"));
        assert!(is_named, "{BOOK} does not name {name}");
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
