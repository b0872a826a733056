//! `tokenweir demo` as a user starts it: it proves its own point and leaves nothing behind.

use std::process::Command;

use crate::support::turn;

/// The four numbers of `sent N = stored N = delivered N = counted N`.
fn numbers(proof: &str) -> Vec<u64> {
    let parts = proof.split(" = ").zip(["sent ", "stored ", "delivered ", "counted "]);
    parts.map(|(part, name)| part.strip_prefix(name).and_then(|n| n.parse().ok()).expect(proof)).collect()
}

#[test]
fn every_call_is_stored_delivered_and_counted_once() {
    // It keeps the machine busy, and `start` measures a time.
    let _turn = turn::alone();
    let scratch = tempfile::tempdir().expect("directory");
    let output = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["demo", "--seconds", "10"])
        .env("TMPDIR", scratch.path())
        .output()
        .expect("demo");
    let said = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);

    let numbers = numbers(said.lines().last().expect("a last line"));
    assert_eq!(numbers.len(), 4, "{said}");
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{said}");
    assert!(numbers[0] >= 90, "each lane of each caller calls more than once: {said}");

    for told in ["broker is away", "broker is back", "kill -9 of sidecar 2", "back on its ledger"] {
        assert!(said.contains(told), "it did not happen: {told}\n{said}");
    }
    let callers = [
        "claims-desk",
        "code-review",
        "hr-helpdesk",
        "legal-drafts",
        "field-service",
        "night-batch",
        "phone-line",
        "research-lab",
        "tender-review",
    ];
    for caller in callers.into_iter().chain(["web-shop", "unattributed"]) {
        assert!(
            said.lines().any(|line| line.starts_with(&format!("{caller} "))),
            "{caller} is missing\n{said}"
        );
    }
    let left = std::fs::read_dir(scratch.path()).expect("directory").count();
    assert_eq!(left, 0, "ledgers go on success");
}

#[test]
fn too_short_a_demo_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["demo", "--seconds", "1"])
        .output()
        .expect("demo");
    assert!(!output.status.success());
}
