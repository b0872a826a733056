//! Our numbers beside the bill, row by row, and the table of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::recordings::{account_cases, is_true};
use crate::rows;

/// Cases of one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cases: u32,
    pub(crate) equal: u32,
    pub(crate) within_one: u32,
    pub(crate) labelled_exact: u32,
}

/// A number that is called exact and is not the bill, or a lower bound above it.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) id: String,
    pub(crate) side: &'static str,
    pub(crate) quality: String,
    pub(crate) ours: Option<u64>,
    pub(crate) bill: u64,
}

/// What one set of exchanges gives.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) rows: BTreeMap<String, Tally>,
    pub(crate) wrong: Vec<Wrong>,
}

impl Tally {
    fn add(&mut self, bill: u64, ours: Option<u64>, labelled_exact: bool) {
        self.cases += 1;
        self.equal += u32::from(ours == Some(bill));
        self.within_one += u32::from(ours.is_some_and(|ours| ours.abs_diff(bill) <= 1));
        self.labelled_exact += u32::from(labelled_exact);
    }

    /// `part` of the cases, in percent.
    pub(crate) fn percent(&self, part: u32) -> f64 {
        100.0 * f64::from(part) / f64::from(self.cases.max(1))
    }

    /// Cells of a table: cases, equal, within 1, labelled exact.
    fn cells(&self) -> String {
        if self.cases == 0 {
            return "- | - | - | -".to_owned();
        }
        let [equal, within_one, exact] =
            [self.equal, self.within_one, self.labelled_exact].map(|part| self.percent(part));
        format!("{} | {equal:.1} % | {within_one:.1} % | {exact:.1} %", self.cases)
    }
}

impl Tallies {
    pub(crate) fn row(&self, name: &str) -> Tally {
        self.rows.get(name).copied().unwrap_or_default()
    }
}

/// Accounts for these exchanges, and holds the numbers against the bills.
pub(crate) fn tallies(cases: &[Value]) -> Tallies {
    let mut tallies = Tallies::default();
    for (case, line) in cases.iter().zip(account_cases(cases)) {
        assert_eq!(case["id"], line["id"]);
        let rows = rows::of(case);
        for (side, names, rows) in [
            ("input", ["prompt_tokens", "input_tokens"], rows.input),
            ("output", ["completion_tokens", "output_tokens"], rows.output),
        ] {
            let Some(bill) = names.iter().find_map(|name| case["usage"][name].as_u64()) else { continue };
            let ours = line["computed"][side].as_u64();
            let quality = line[format!("{side}_quality")].as_str().unwrap();
            let exact = quality == "exact";
            for row in rows {
                tallies.rows.entry(row).or_default().add(bill, ours, exact);
            }
            if is_true(&case["suspect"]) {
                continue;
            }
            if exact {
                tallies.rows.entry(format!("labelled exact, {side}")).or_default().add(bill, ours, true);
            }
            if exact && ours != Some(bill) || quality == "lower_bound" && ours > Some(bill) {
                let id = case["id"].as_str().unwrap().to_owned();
                tallies.wrong.push(Wrong { id, side, quality: quality.to_owned(), ours, bill });
            }
        }
    }
    tallies
}

/// The rows of these names, each with the cells of every set.
pub(crate) fn table<'a>(rows: impl Iterator<Item = &'a str>, sets: &[(&str, &Tallies)]) -> String {
    let mut table = "|".to_owned();
    for (set, _) in sets {
        write!(table, " | {set}: cases | equal to the bill | within 1 token | labelled `exact`").unwrap();
    }
    table += " |\n|---|";
    table += &"---|---|---|---|".repeat(sets.len());
    table.push('\n');
    for row in rows {
        let cells: Vec<_> = sets.iter().map(|(_, tallies)| tallies.row(row).cells()).collect();
        writeln!(table, "| {row} | {} |", cells.join(" | ")).unwrap();
    }
    table
}
