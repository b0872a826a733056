//! The caller map, from its file to the report.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Rig, lines};
use crate::sidecar::{binary, wait_for};

fn call(rig: &Rig, name: &str, caller: &str) {
    assert_eq!(rig.call(name, &lines(&[("x-apim-subscription-id", caller)])), 200);
}

/// Lines of `report --by department,cost_center`.
fn report(ledger: &Path) -> Vec<(String, String, u64)> {
    let output = Command::new(binary())
        .args(["report", "--format", "json", "--by", "department,cost_center", "--ledger"])
        .arg(ledger)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = report["lines"].as_array().unwrap().iter();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| (text(line, "department"), text(line, "cost_center"), line["calls"].as_u64().unwrap()))
        .collect()
}

/// The beginning of a file's SHA-256, by a program that everybody has.
fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..12].to_owned()
}

#[test]
fn a_map_is_read_again_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("callers.csv");
    let header = "caller,from,to,cost_center,department";
    let write = |rows: &str| std::fs::write(&file, format!("{header}\n{rows}")).unwrap();
    write("team-a,,2020-01-01,CC-OLD,Old\nteam-a,2020-01-01,,CC-1,Retail\nteam-b,2999-01-01,,CC-2,Future\n");
    let first = sha256(&file);
    let rig = Rig::start(&["--caller-map-file", file.to_str().unwrap()]);
    call(&rig, "a-1", "team-a");
    call(&rig, "b-1", "team-b");
    let told = |needle: &str| {
        rig.sidecar
            .log()
            .iter()
            .filter(|line| line.contains("caller-map-file") && line.contains(needle))
            .count()
    };
    write("team-a,,,CC-9,Wealth\nteam-b,,,CC-2,Cards\nteam-b,,,CC-3,Cards\n");
    rig.sidecar.hang_up();
    wait_for("the log to say why not", || (told("line 4: has the caller") == 1).then_some(()));
    call(&rig, "a-2", "team-a");
    write("team-a,,,CC-9,Wealth\nteam-b,,,CC-2,Cards\n");
    let second = sha256(&file);
    rig.sidecar.hang_up();
    wait_for("the map to be read again", || (told("\"changed\":true") == 1).then_some(()));
    call(&rig, "a-3", "team-a");
    call(&rig, "b-2", "team-b");
    call(&rig, "c-1", "team-c");
    let left = rig.stop();
    let of = |name: &str| {
        let caller = &left.events[name]["caller"];
        json!([caller["department"], caller["cost_center"], caller["map_version"]])
    };
    assert_eq!(of("a-1"), json!(["Retail", "CC-1", first]));
    assert_eq!(of("b-1"), json!([null, null, first]), "not in force yet");
    assert_eq!(of("a-2"), json!(["Retail", "CC-1", first]), "the old one stays in force");
    assert_eq!(of("a-3"), json!(["Wealth", "CC-9", second]));
    assert_eq!(of("c-1"), json!([null, null, second]));
    let line = |department: &str, center: &str, calls| (department.to_owned(), center.to_owned(), calls);
    let expected =
        [line("Cards", "CC-2", 1), line("Retail", "CC-1", 2), line("Wealth", "CC-9", 1), line("", "", 2)];
    assert_eq!(report(&left.ledger), expected);
}

#[test]
fn a_start_with_a_bad_map_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("callers.csv");
    for (text, needle) in [
        ("caller,team\na,b\n", "line 1: \"team\" is no column"),
        ("caller,department\na\n", "line 2: has 1 field"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(binary())
            .args(["serve", "--upstream", "http://127.0.0.1:9", "--ledger"])
            .arg(dir.path().join("ledger"))
            .arg("--caller-map-file")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("--caller-map-file") && said.contains(needle), "{said}");
    }
}
