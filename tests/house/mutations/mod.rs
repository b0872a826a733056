//! Do the tests have teeth? Each file beside this one breaks one promise of the program on purpose,
//! and names the test that must fail for it.
//!
//! Always checked: each mutation still applies at exactly one place, and its test exists. With
//! `TOKENWEIR_LONG=1` each is applied to a copy of the sources, its test is run there, and must fail
//! (a mutation that does not compile proves nothing); a table is printed.
//! `TOKENWEIR_MUTATION=name[,name..]` runs only these.

mod copy;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::skip;
use crate::support::files::{root, rust_files};
use copy::{Copy, Verdict};

/// One promise, broken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    #[serde(skip)]
    name: String,
    /// What is wrong with it.
    what: String,
    file: String,
    find: String,
    replace: String,
    /// `lib` or `metering` for the unit tests of a package, or the test binary.
    target: String,
    /// The test, with its module path.
    test: String,
}

fn mutations() -> Vec<Mutation> {
    let files =
        std::fs::read_dir(root().join("tests/house/mutations")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort_unstable();
    let read = |path: &PathBuf| {
        let text = read_to_string(path).unwrap();
        let mut mutation: Mutation =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        mutation.name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        mutation
    };
    files.iter().map(read).collect()
}

impl Mutation {
    /// The file below `root` with the promise broken, or why that cannot be.
    fn applied(&self, root: &Path) -> Result<String, String> {
        let text =
            read_to_string(root.join(&self.file)).map_err(|error| format!("{}: {error}", self.file))?;
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            n => Err(format!("{} holds its text {n} times, not once", self.file)),
        }
    }

    fn test_exists(&self) -> bool {
        let declared = format!("fn {}(", self.test.rsplit("::").next().unwrap());
        let mut places = vec![root().join(if self.target == "metering" { "crates" } else { "src" })];
        if self.target != "lib" && self.target != "metering" {
            let tests = root().join("tests");
            places = vec![tests.join(format!("{}.rs", self.target)), tests.join(&self.target)];
        }
        places
            .iter()
            .flat_map(|place| rust_files(place))
            .any(|file| read_to_string(file).unwrap().contains(&declared))
    }
}

#[test]
fn each_mutation_applies_and_its_test_exists() {
    let mut wrong = Vec::new();
    for mutation in mutations() {
        if let Err(why) = mutation.applied(root()) {
            wrong.push(format!("{}: {why}", mutation.name));
        }
        if !mutation.test_exists() {
            wrong.push(format!("{}: no test {} in {}", mutation.name, mutation.test, mutation.target));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_mutation_fails_its_test() {
    if !skip::long_test() {
        return;
    }
    let mut mutations = mutations();
    if let Ok(names) = std::env::var("TOKENWEIR_MUTATION") {
        let names: BTreeSet<&str> = names.split(',').collect();
        mutations.retain(|mutation| names.contains(mutation.name.as_str()));
    }
    // By target: what a mutation leaves compiled serves the next one.
    mutations.sort_by(|a, b| (&a.target, &a.name).cmp(&(&b.target, &b.name)));
    let copy = Copy::make(root());
    let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mutation in &mutations {
        tests.entry(&mutation.target).or_default().insert(&mutation.test);
    }
    for (target, tests) in tests {
        let tests: Vec<&str> = tests.into_iter().collect();
        let (verdict, said) = copy.run(target, &tests);
        assert_eq!(verdict, Verdict::Passed, "{target} {tests:?} without any mutation: {said}");
    }
    let mut survivors = Vec::new();
    for mutation in &mutations {
        let original = copy.write(&mutation.file, &mutation.applied(&copy.sources).unwrap());
        let (verdict, _) = copy.run(&mutation.target, &[&mutation.test]);
        copy.write(&mutation.file, &original);
        println!(
            "{verdict:?} | {} | {} | {}::{}",
            mutation.name, mutation.what, mutation.target, mutation.test
        );
        if !matches!(verdict, Verdict::Failed | Verdict::Hung) {
            survivors.push(&mutation.name);
        }
    }
    assert!(survivors.is_empty(), "not found by their tests: {survivors:?}");
}
