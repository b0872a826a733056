//! Cargo runs this program last: it lists what did not run in this run, and holds that nothing is left out in
//! silence (see `support/skip.rs`).
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::process::Command;

use support::files::{root, rust_files};
use support::skip;

#[test]
fn the_list() {
    skip::list_the_run_at_exit();
}

/// Two tests that skip; not tests of their own.
#[test]
#[ignore = "run by another test"]
fn child_that_does_not_run() {
    skip::test("there is no weir");
}

#[test]
#[ignore = "run by another test"]
fn child_that_runs_in_part() {
    assert!(!skip::long());
}

#[test]
fn a_run_that_passes_says_what_did_not_run_and_leaves_it_for_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("skipped");
    for threads in ["1", "2"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["child_that", "--ignored", "--test-threads", threads])
            .env("TOKENWEIR_TEST_SKIPPED", &file)
            .env_remove("TOKENWEIR_LONG")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (tests, list) = said.split_once("test result: ok. 2 passed").expect(&said);
        assert!(!tests.contains("weir"), "captured, as everything that passes: {tests}");
        let whole = "1 did not run, and count as passed:\n  there is no weir\n      zz_skipped child_that_does_not_run\n";
        let part = "1 ran in part:\n  the long form; TOKENWEIR_LONG=1 runs it\n      zz_skipped child_that_runs_in_part\n";
        assert!(list.contains(whole) && list.contains(part), "{list}");
    }
    let lines = fs::read_to_string(file).unwrap();
    assert!(lines.contains("whole\tthere is no weir\tzz_skipped child_that_does_not_run\n"), "{lines}");
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

/// A test that prints the word itself is heard by nobody, and one that reads the variable itself says nothing.
#[test]
fn nothing_is_skipped_past_the_list() {
    let mut seen = 0;
    for path in ["tests", "src", "crates", "benches"]
        .map(|folder| root().join(folder))
        .iter()
        .flat_map(|at| rust_files(at))
    {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if name == "tests/support/skip.rs" || name == "tests/zz_skipped.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        assert!(!code.contains("SKIPPED"), "{name} says SKIPPED itself: skip::test or skip::part list it");
        let long = code.contains("var_os(\"TOKENWEIR_LONG\")") || code.contains("var(\"TOKENWEIR_LONG\")");
        // Unit tests, which are no program of their own: properties with more cases.
        assert!(
            !long || name.starts_with("src/") || name.starts_with("crates/"),
            "{name} reads TOKENWEIR_LONG itself: skip::long lists it"
        );
        seen += code.matches("skip::").count();
    }
    assert!(seen > 20, "only {seen} calls were found: the search is broken");
}

#[test]
fn this_program_is_the_last() {
    let entries = fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let programs =
        entries.filter(|path| path.join("main.rs").exists() || path.extension().is_some_and(|e| e == "rs"));
    let last = programs.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).max();
    assert_eq!(last.as_deref(), Some(env!("CARGO_CRATE_NAME")), "cargo runs them by name");
}
