//! A reconciliation as tables for people.

use std::io::Write;

use smol_str::SmolStr;

use super::attribution::Explained;
use super::billed::UnmatchedMeter;
use super::cause::Cause;
use super::quantity::Quantity;
use super::reconciliation::{OneSided, ReconciledLine, ReconciledSums, Reconciliation};
use super::show::names_of;
use crate::report::error::ReportError;
use crate::report::render::{CellKind, Importance, TextColumn, TextTable};
use metering::names;

/// Things of one kind that people are shown.
const SHOWN_MAX: usize = 20;

/// Columns that names stand in, and when each is left out.
const BASIS: (&str, Importance) = ("basis", Importance::LeftOutAt(4));
const RESOURCE: (&str, Importance) = ("resource", Importance::Kept);
const SCOPE: (&str, Importance) = ("deployment or model", Importance::Kept);
const DAY: (&str, Importance) = ("day", Importance::Kept);
const MEASURE: (&str, Importance) = ("measure", Importance::Kept);

/// Columns of numbers: the delta says most.
const NUMBERS: [(&str, Importance); 4] = [
    ("tracked", Importance::LeftOutAt(2)),
    ("billed", Importance::LeftOutAt(3)),
    ("delta", Importance::Kept),
    ("ratio", Importance::LeftOutAt(1)),
];

/// A line of a table: its names, its numbers, and whether it is over the tolerance.
type TableLine<'a> = (Vec<String>, &'a ReconciledSums, bool);

impl Reconciliation {
    /// Writes the lines that differ, the totals, and what was not matched; with `columns` the tables fit a terminal of so
    /// many.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_table(&self, columns: Option<usize>, out: &mut impl Write) -> Result<(), ReportError> {
        let differing: Vec<&ReconciledLine> =
            self.lines.iter().filter(|line| line.sums.delta() != Quantity::ZERO).collect();
        if !differing.is_empty() {
            writeln!(out, "{}", lines_table(&differing).text(columns))?;
        }
        writeln!(out, "{}", totals_table(self).text(columns))?;
        let sided = |all: &[OneSided]| all.iter().map(one_sided_text).collect::<Vec<_>>();
        list(out, "only in Azure", &sided(&self.only_in_azure))?;
        list(out, "only in our events", &sided(&self.only_in_ours))?;
        let calls = |(name, calls): (&SmolStr, &u64)| format!("{name}: {}", plural(*calls as usize, "call"));
        let not_covered: Vec<String> = self.not_covered.iter().map(calls).collect();
        list(out, "resources of ours that no file of Azure is about", &not_covered)?;
        list(
            out,
            "meters without a line in the table",
            &self.unmatched_meters.iter().map(meter_text).collect::<Vec<_>>(),
        )?;
        Ok(writeln!(out, "{}", self.verdict(differing.len()))?)
    }

    /// The last line.
    fn verdict(&self, differing: usize) -> String {
        let over = self.lines.iter().filter(|line| line.is_over).count();
        let (lines, tolerance) = (plural(self.lines.len(), "line"), self.tolerance);
        if self.lines.is_empty() {
            return "nothing to compare: Azure's files and our events have no resource and time in common"
                .to_owned();
        }
        match over {
            0 => format!("{lines}, {differing} with a delta: all are within {tolerance}"),
            over => format!("{lines}, {differing} with a delta: {over} with more than {tolerance} open"),
        }
    }
}

fn lines_table(lines: &[&ReconciledLine]) -> TextTable {
    let lines = lines.iter().map(|line| {
        let [basis, resource, deployment, model, day, measure] = names_of(line);
        (vec![basis, resource, deployment + &model, day, measure], &line.sums, line.is_over)
    });
    table(&[BASIS, RESOURCE, SCOPE, DAY, MEASURE], &lines.collect::<Vec<_>>())
}

fn totals_table(reconciliation: &Reconciliation) -> TextTable {
    let lines = reconciliation.totals.iter().map(|((basis, measure), sums)| {
        (vec![basis.as_str().to_owned(), measure.as_str().to_owned()], sums, false)
    });
    table(&[BASIS, MEASURE], &lines.collect::<Vec<_>>())
}

fn table(names: &[(&str, Importance)], lines: &[TableLine<'_>]) -> TextTable {
    let column = |(header, importance): (&str, Importance), kind, cells| TextColumn {
        header: header.to_owned(),
        kind,
        importance,
        cells,
    };
    let names = names.iter().enumerate().map(|(at, name)| {
        let cells = lines.iter().map(|(names, ..)| names.get(at).map_or("", String::as_str));
        column(*name, CellKind::Name, cells.map(|name| names::shown(name).into_owned()).collect())
    });
    let numbers = NUMBERS.into_iter().enumerate().map(|(at, number)| {
        column(number, CellKind::Number, lines.iter().map(|(_, sums, _)| numbers(sums)[at].clone()).collect())
    });
    let causes = lines
        .iter()
        .map(|(_, sums, is_over)| causes_text(&sums.explained) + if *is_over { " !" } else { "" });
    let causes = column(("causes", Importance::Kept), CellKind::Words, causes.collect());
    TextTable { columns: names.chain(numbers).chain([causes]).collect(), has_total: false }
}

/// The cells of the [`NUMBERS`].
fn numbers(sums: &ReconciledSums) -> [String; 4] {
    let [tracked, billed, delta] = [sums.tracked, sums.billed, sums.delta()].map(|number| number.to_string());
    [tracked, billed, delta, sums.ratio().unwrap_or_default()]
}

fn causes_text(explained: &Explained) -> String {
    let sign = |part: Quantity| if part.is_positive() { "+" } else { "" };
    let cause = |(cause, part): (Cause, Quantity)| format!("{} {}{part}", cause.as_str(), sign(part));
    explained.all().map(cause).collect::<Vec<_>>().join(", ")
}

fn one_sided_text(one: &OneSided) -> String {
    let scope = if one.scope.is_empty() { "without a name" } else { &one.scope };
    format!("{} {}: {scope}", one.basis.as_str(), one.resource)
}

fn meter_text(meter: &UnmatchedMeter) -> String {
    let UnmatchedMeter { resource, meter, unit, rows, quantity, cost, currency } = meter;
    let rows = plural(usize::try_from(*rows).unwrap_or(usize::MAX), "row");
    format!("{resource}: {meter}, {quantity} of unit {unit:?} in {rows}, cost {cost} {currency}")
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A head and a line for each; nothing of nothing.
fn list(out: &mut impl Write, head: &str, all: &[String]) -> std::io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "{head}:")?;
    for one in all.iter().take(SHOWN_MAX) {
        writeln!(out, "  {}", names::shown(one))?;
    }
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more: --format json names them"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::civil::date;
    use unicode_width::UnicodeWidthStr;

    use super::super::line_key::Basis;
    use super::super::measure::Measure;
    use super::super::tolerance::Tolerance;
    use super::*;
    use crate::report::completeness::Completeness;

    fn sums() -> ReconciledSums {
        let mut explained = Explained::default();
        explained.add(Cause::CutStreams, Quantity::of(1_234_567));
        explained.add(Cause::Failures, -Quantity::of(55));
        explained.add(Cause::Bypass, Quantity::of(9_876_543_210));
        let (tracked, billed) = (Quantity::of(87_654_321_098), Quantity::of(97_532_098_820));
        ReconciledSums { tracked, billed, explained }
    }

    fn reconciliation() -> Reconciliation {
        let sums = sums();
        let line = |basis, resource: &str, scope: &str, measure| ReconciledLine {
            basis,
            resource: resource.into(),
            scope: scope.into(),
            day: date(2026, 11, 2),
            measure,
            sums,
            is_over: true,
        };
        Reconciliation {
            tolerance: Tolerance::default(),
            lines: vec![
                line(Basis::Metrics, "contoso-openai-sweden-central", "gpt-4o-production-01", Measure::Input),
                line(
                    Basis::CostExport,
                    "contoso-openai-sweden-central",
                    "gpt-4o 0806 Inp glbl",
                    Measure::GeneratedImages,
                ),
            ],
            totals: BTreeMap::from([((Basis::CostExport, Measure::GeneratedImages), sums)]),
            only_in_azure: Vec::new(),
            only_in_ours: Vec::new(),
            not_covered: BTreeMap::new(),
            unmatched_meters: Vec::new(),
            completeness: Completeness::default(),
        }
    }

    #[test]
    fn tables_fit_the_terminal_and_no_number_is_cut() {
        let text = |columns| {
            let mut out = Vec::new();
            reconciliation().write_table(columns, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        for columns in [80, 100, 132] {
            let text = text(Some(columns));
            assert!(text.lines().all(|line| line.width() <= columns), "{columns}\n{text}");
            for kept in ["9877777722", "+9876543210", "+1234567,", "-55,", "cut_streams", "2026-11-02", " !"]
            {
                assert!(text.contains(kept), "{kept} of {columns}\n{text}");
            }
        }
        assert!(text(Some(80)).contains("no room for ratio, tracked, billed, basis; --wide shows all"));
        let wide = text(None);
        assert!(wide.contains("contoso-openai-sweden-central") && wide.contains("87654321098"), "{wide}");
        assert!(!wide.contains("no room"), "{wide}");
    }
}
