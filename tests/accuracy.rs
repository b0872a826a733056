//! How well the numbers that we compute agree with the service's own bill: the table of the README,
//! and the gates that it must pass.
//!
//! `cargo test --release --test accuracy -- --nocapture` prints it; `TOKENWEIR_UPDATE=1` writes it
//! into the README. The recordings are read where they are (see `support/recordings.rs`). Nothing of
//! `usage` gets into the numbers: `tests/accounting.rs` proves that.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/readme.rs"]
mod readme;
#[path = "support/recordings.rs"]
mod recordings;
#[path = "accuracy/rows.rs"]
mod rows;
#[path = "support/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use recordings::{account_cases, cases, is_true};

/// Rows of the table in their order, and the share of cases that must equal the bill, in percent.
const GATES: [(&str, f64); 14] = [
    ("chat prompt, classic", 98.0),
    ("chat prompt, gpt-5", 95.0),
    ("chat prompt, o-series", 90.0),
    ("chat prompt, Azure", 92.0),
    ("chat completion, classic", 99.8),
    ("chat completion, Azure", 95.0),
    ("Responses prompt, classic", 88.0),
    ("Responses prompt, gpt-5", 94.0),
    ("Responses output, classic", 97.0),
    ("embeddings", 100.0),
    ("completions, prompt", 100.0),
    ("completions, output", 100.0),
    ("labelled exact, input", 99.0),
    ("labelled exact, output", 99.0),
];

/// Rows of which this share, in percent, must carry the label `exact`.
const COVERED: [&str; 4] =
    ["chat prompt, classic", "chat completion, classic", "chat prompt, Azure", "chat completion, Azure"];
const COVERED_PERCENT: f64 = 75.0;

/// Cases of one row.
#[derive(Default)]
struct Tally {
    cases: u32,
    equal: u32,
    within_one: u32,
    labelled_exact: u32,
}

impl Tally {
    fn add(&mut self, bill: u64, ours: Option<u64>, labelled_exact: bool) {
        self.cases += 1;
        self.equal += u32::from(ours == Some(bill));
        self.within_one += u32::from(ours.is_some_and(|ours| ours.abs_diff(bill) <= 1));
        self.labelled_exact += u32::from(labelled_exact);
    }

    fn percent(&self, part: u32) -> f64 {
        100.0 * f64::from(part) / f64::from(self.cases.max(1))
    }
}

fn tallies() -> Option<BTreeMap<String, Tally>> {
    let cases = cases()?;
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (case, line) in cases.iter().zip(account_cases(&cases)) {
        assert_eq!(case["id"], line["id"]);
        let rows = rows::of(case);
        for (side, names, rows) in [
            ("input", ["prompt_tokens", "input_tokens"], rows.input),
            ("output", ["completion_tokens", "output_tokens"], rows.output),
        ] {
            let Some(bill) = names.iter().find_map(|name| case["usage"][name].as_u64()) else { continue };
            let ours = line["computed"][side].as_u64();
            let quality = line[format!("{side}_quality")].as_str().unwrap();
            assert!(
                quality != "lower_bound" || ours <= Some(bill),
                "{}: {ours:?} is above {bill}",
                case["id"]
            );
            for row in rows {
                tallies.entry(row).or_default().add(bill, ours, quality == "exact");
            }
            if quality == "exact" && !is_true(&case["suspect"]) {
                tallies.entry(format!("labelled exact, {side}")).or_default().add(bill, ours, true);
                if ours != Some(bill) {
                    println!("called exact: {} {side} {ours:?}, billed {bill}", case["id"]);
                }
            }
        }
    }
    Some(tallies)
}

fn table(tallies: &BTreeMap<String, Tally>) -> String {
    let mut table =
        "| | cases | equal to the bill | within 1 token | labelled `exact` |\n|---|---|---|---|---|\n"
            .to_owned();
    for (row, _) in GATES {
        let tally = &tallies[row];
        writeln!(
            table,
            "| {row} | {} | {:.1} % | {:.1} % | {:.1} % |",
            tally.cases,
            tally.percent(tally.equal),
            tally.percent(tally.within_one),
            tally.percent(tally.labelled_exact)
        )
        .unwrap();
    }
    table
}

#[test]
fn accuracy() {
    let Some(tallies) = tallies() else { return };
    let table = table(&tallies);
    println!("{table}");
    let mut missed = Vec::new();
    for (row, percent) in GATES {
        let tally = &tallies[row];
        if tally.percent(tally.equal) < percent {
            missed.push(format!("{row}: {:.2} %, not {percent}", tally.percent(tally.equal)));
        }
        if COVERED.contains(&row) && tally.percent(tally.labelled_exact) < COVERED_PERCENT {
            missed.push(format!("{row}: {:.1} % labelled exact", tally.percent(tally.labelled_exact)));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    readme::check("accuracy", &table);
}
