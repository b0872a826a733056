//! How well the numbers that we compute agree with the service's own bill: the table of `docs/accuracy.md`,
//! and the gates that it must pass.
//!
//! `cargo test --release --test accuracy` prints it; `TOKENWEIR_UPDATE=1` writes it there. The
//! recordings are not public; they are read where they are (see `tests/support/recordings.rs`), and where they
//! are absent their test counts as ignored. `fixtures/accuracy` has exchanges of our own, so that the
//! command prints a table anywhere. Nothing of `usage` gets into the numbers: `tests/accounting` proves
//! that.
//!
//! - this file: the tests, and the table
//! - `rows`, `tally`: in which row a case stands, and how often numbers agree there
//! - `gates`: what each row must hold
//! - `harness`: runs tests as libtest does, but may call one ignored once it has looked

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod gates;
mod harness;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod tally;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use gates::{ABSENT, GATES, KNOWN, SETS};
use harness::{Chosen, Test};
use support::{documents, recordings};
use tally::{Tallies, Wrong, table, tallies};

/// Exchanges that were made up for this repository.
const OWN: &str = include_str!("../../fixtures/accuracy/own.jsonl");

/// Of these so many are called exact at least, on either side.
const OWN_EXACT_MIN: u32 = 40;

const OWN_NOTE: &str = "\
Exchanges of our own (fixtures/accuracy). Every text in them was made up for this repository, and the numbers are
what the rules give: they show what is counted and how it is labelled, and they hold the program to its own
rules. They are no evidence for the rules: that is the recordings of real calls, which are not public.
";

fn main() -> ExitCode {
    let absent = recordings::recordings().is_none();
    let tests = [
        Test { name: "arguments_choose_tests", ignored: None, run: arguments_choose_tests },
        Test { name: "exchanges_of_our_own", ignored: None, run: of_our_own },
        Test { name: "recordings_of_the_service", ignored: absent.then_some(ABSENT), run: of_the_service },
    ];
    harness::run(&tests, &Chosen::by(std::env::args().skip(1)), &mut std::io::stdout())
}

fn failed_if(missed: &[String]) -> Result<(), String> {
    if missed.is_empty() { Ok(()) } else { Err(missed.join("\n")) }
}

/// This program's own copies say the same as libtest would: what runs, what is ignored, and how it ends.
fn arguments_choose_tests() -> Result<(), String> {
    let tests = |ignored| {
        [
            Test { name: "passes", ignored: None, run: || Ok(()) },
            Test { name: "fails", ignored, run: || Err("as it should".to_owned()) },
        ]
    };
    let code = |ignored, arguments: &str| {
        let chosen = Chosen::by(arguments.split_whitespace().map(str::to_owned));
        let code = harness::run(&tests(ignored), &chosen, &mut std::io::sink());
        format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
    };
    let missed = [
        (None, "", false),
        (Some("no weir"), "", true),
        (Some("no weir"), "--include-ignored", false),
        (Some("no weir"), "--ignored", false),
        (None, "passes --nocapture --test-threads 1", true),
        (None, "fails --list", true),
        (None, "--skip fails", true),
        (None, "fail --exact", true),
        (None, "fail", false),
    ]
    .into_iter()
    .filter(|(ignored, arguments, succeeds)| code(*ignored, arguments) != *succeeds);
    failed_if(&missed.map(|wrong| format!("{wrong:?}")).collect::<Vec<_>>())
}

/// Where nothing was recorded nothing is uncertain: every number called exact is the one that stands there.
fn of_our_own() -> Result<(), String> {
    let cases: Vec<Value> = OWN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own = tallies(&cases);
    println!("{OWN_NOTE}\n{}", table(GATES.iter().map(|gate| gate.row), &[("own", &own)]));
    let mut missed: Vec<_> = own.wrong.iter().map(|wrong| format!("{wrong:?}")).collect();
    for gate in &GATES {
        if own.row(gate.row).cases == 0 {
            missed.push(format!("no exchange of our own is in the row {}", gate.row));
        }
    }
    for side in ["input", "output"] {
        let exact = own.row(&format!("labelled exact, {side}")).cases;
        if exact < OWN_EXACT_MIN {
            missed.push(format!("only {exact} are called exact, {side}"));
        }
    }
    failed_if(&missed)
}

fn of_the_service() -> Result<(), String> {
    let sets: Vec<Tallies> =
        SETS.iter().map(|set| tallies(&recordings::cases_of(set).expect(ABSENT))).collect();
    let named: Vec<_> = SETS.iter().copied().zip(&sets).collect();
    let table = table(GATES.iter().map(|gate| gate.row), &named);
    let mut missed = Vec::new();
    for (set, (name, tallies)) in named.iter().enumerate() {
        for gate in &GATES {
            let tally = tallies.row(gate.row);
            for (what, part, least) in
                [("equal", tally.equal, gate.equal[set]), ("exact", tally.labelled_exact, gate.exact[set])]
            {
                if tally.percent(part) < least {
                    missed.push(format!(
                        "{name}, {}: {:.2} % {what}, not {least}",
                        gate.row,
                        tally.percent(part)
                    ));
                }
            }
        }
    }
    let wrong: Vec<&Wrong> = sets.iter().flat_map(|tallies| &tallies.wrong).collect();
    let known = known_wrong(&wrong, &mut missed);
    let labelled: u32 = ["input", "output"]
        .iter()
        .flat_map(|side| sets.iter().map(move |set| set.row(&format!("labelled exact, {side}")).cases))
        .sum();
    let block = format!(
        "{table}\nOf {labelled} numbers labelled `exact`, {} are not the bill:\n\n{known}",
        wrong.len()
    );
    println!("{block}");
    failed_if(&missed)?;
    documents::check("accuracy", &block);
    Ok(())
}

/// A list of what is wrong with its causes. Each must be known, and nothing known may be right by now.
fn known_wrong(wrong: &[&Wrong], missed: &mut Vec<String>) -> String {
    let is = |wrong: &Wrong, known: &(&str, &str, &str)| wrong.id == known.0 && wrong.side == known.1;
    let mut list = String::new();
    for wrong in wrong {
        match KNOWN.iter().find(|known| is(wrong, known)) {
            Some((id, side, cause)) if wrong.quality == "exact" => {
                let ours = wrong.ours.unwrap_or(0);
                writeln!(list, "- `{id}`, {side}: {ours}, billed {}: {cause}", wrong.bill).unwrap();
            }
            _ => missed.push(format!("wrong, and nobody knows why: {wrong:?}")),
        }
    }
    let right = KNOWN.iter().filter(|known| !wrong.iter().any(|wrong| is(wrong, known)));
    missed.extend(right.map(|(id, side, _)| format!("{id}, {side} is right by now: not KNOWN any more")));
    list
}
