//! The program that the tests run is the one that is shipped: no dependency of it has other features in tests.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::support::files::root;
use crate::support::skip;

/// Packages of the program, each with the features that it is built with. `None`: Cargo cannot say.
fn features(edges: &str, more: &[&str]) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}|{f}", "--edges", edges])
        .args(more)
        .current_dir(root())
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // A package that was shown before ends in a mark.
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
            packages.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
    }
    Some(packages)
}

#[test]
fn no_dependency_has_other_features_in_tests() {
    let shipped = features("normal,no-proc-macro", &[]);
    let tested = features("normal,dev,no-proc-macro", &["--workspace"]);
    let (Some(shipped), Some(tested)) = (shipped, tested) else {
        return skip::test("Cargo cannot list the dependencies without a network");
    };
    assert!(shipped.len() > 100, "only {} packages were found: the search is broken", shipped.len());
    let differs = |(package, features): &(&String, &BTreeSet<String>)| tested.get(*package) != Some(features);
    let differing: Vec<_> = shipped.iter().filter(differs).collect();
    assert!(differing.is_empty(), "give them to [dependencies] too: {differing:?}");
}
