//! One table knows the APIs (`metering::api`), and no other source names one.

use std::fs;
use std::path::Path;

use crate::layers::tokens::{Token, text_at, tokens};
use crate::support::files::{root, rust_files};

/// Where the sources of the packages begin.
const PACKAGES: [&str; 2] = ["src", "crates/metering/src"];

/// The folder of the table.
const TABLE: &str = "crates/metering/src/api/";

/// The words of the table that choose a reader or rules, each with the sources that are chosen from.
const CHOICES: [(&str, &[&str]); 3] = [
    ("BodyKind", &["crates/metering/src/meter/read/reader.rs"]),
    ("SessionKind", &["crates/metering/src/session/observer.rs"]),
    ("RuleSet", &["crates/metering/src/meter/output/dispatch.rs", "crates/metering/src/prompt/dispatch.rs"]),
];

#[test]
fn no_other_source_names_an_api() {
    let mut named = Vec::new();
    for file in PACKAGES.iter().flat_map(|package| rust_files(&root().join(package))) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if !name.starts_with(TABLE) && !is_test(&file) {
            let text = fs::read_to_string(&file).unwrap();
            named.extend(variants(&name, &text));
        }
    }
    assert!(named.is_empty(), "APIs that are named outside of the table:\n{}", named.join("\n"));
}

/// A file of tests: it is called so, or its parent module has it for tests only.
fn is_test(file: &Path) -> bool {
    let (folder, stem) = (file.parent().unwrap(), file.file_stem().unwrap().to_string_lossy());
    let declared = |parent: &Path| {
        let text = fs::read_to_string(parent).unwrap_or_default();
        text.contains(&format!("#[cfg(test)]\nmod {stem};"))
    };
    let is_named = file.iter().any(|part| part == "tests" || part == "tests.rs");
    is_named || declared(&folder.join("mod.rs")) || declared(&folder.with_extension("rs"))
}

/// Every variant of an API, or of what only one place may choose from, that the sources of a file name.
fn variants(name: &str, text: &str) -> Vec<String> {
    let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let tokens = tokens(source);
    let is_free = |enumeration: &str| {
        CHOICES.iter().any(|(choice, files)| *choice == enumeration && files.contains(&name))
    };
    let is_enumeration =
        |token: &Token| token.text == "Api" || CHOICES.iter().any(|(choice, _)| *choice == token.text);
    let named = (0..tokens.len()).filter(|at| is_enumeration(&tokens[*at]) && !is_free(&tokens[*at].text));
    let named = named.filter(|at| text_at(&tokens, at + 1) == "::" && is_variant(text_at(&tokens, at + 2)));
    named.map(|at| format!("  {name}:{}: {}", tokens[at].line, text_at(&tokens, at + 2))).collect()
}

/// A variant, all of them, or several; functions and constants begin otherwise.
fn is_variant(text: &str) -> bool {
    let is_constant = text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    matches!(text, "{" | "*") || text.starts_with(|first: char| first.is_ascii_uppercase()) && !is_constant
}

/// The checker on made-up files: it must see what is wrong, and only that.
#[test]
fn the_checker_sees_every_way_to_name_one() {
    let lines = |name: &str, text: &str| variants(name, text).len();
    for text in [
        "match api { Api::Responses => 1 }",
        "matches!(api, usage::Api::Audio)",
        "api == metering::api::Api :: Other",
        "use Api::*;",
        "use crate::usage::Api::{Audio};",
        "fn f() -> BodyKind { BodyKind::Items }",
        "RuleSet::Chat",
    ] {
        assert_eq!(lines("src/x.rs", text), 1, "{text}");
    }
    for text in [
        "use metering::usage::{Api, Target};",
        "fn f(api: Api) -> bool { Api::may_stream(api) && api.is_known() }",
        "Api::VARIANTS; Api::default(); // Api::Audio",
        "#[cfg(test)]\nmod tests {\n Api::Audio }",
    ] {
        assert_eq!(lines("src/x.rs", text), 0, "{text}");
    }
    assert_eq!(lines("crates/metering/src/prompt/dispatch.rs", "RuleSet::Chat; Api::Batch"), 1);
}
