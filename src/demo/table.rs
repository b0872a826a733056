//! The table of callers, and what its columns say.

use strum::VariantArray;

use super::callers::about;
use super::departments::Departments;
use super::tally::{CallerRow, TopicTally};
use crate::report::{CellKind, Importance, TextColumn, TextTable};
use metering::names;
use metering::usage::{Quality, Side};

/// From so many columns on there is room for who the callers are.
const WIDE_COLUMNS: usize = 140;

/// The chargeback table, whose columns are named as those of `report` are.
pub(super) fn table(tally: &TopicTally, departments: &Departments, room: usize) -> String {
    let rows: Vec<(&str, CallerRow)> = tally.rows().map(|(caller, row)| (caller, *row)).collect();
    let total = rows.iter().fold(CallerRow::default(), |total, (_, row)| total.plus(row));
    let texts = |header: &str, last: &str, of: &dyn Fn(&str) -> String| TextColumn {
        header: header.to_owned(),
        kind: CellKind::Name,
        importance: Importance::Kept,
        cells: rows.iter().map(|(caller, _)| of(caller)).chain([last.to_owned()]).collect(),
    };
    let mut columns = vec![texts("caller", "total", &|caller| names::shown(caller).into_owned())];
    if room >= WIDE_COLUMNS {
        columns.push(texts("department", "", &|caller| departments.of(caller)));
        columns.push(texts("what it does", "", &|caller| about(caller).to_owned()));
    }
    let numbers = |header: String, of: &dyn Fn(&CallerRow) -> u64| TextColumn {
        header,
        kind: CellKind::Number,
        importance: Importance::Kept,
        cells: rows.iter().map(|(_, row)| row).chain([&total]).map(|row| of(row).to_string()).collect(),
    };
    columns.push(numbers("calls".to_owned(), &|row| row.calls));
    columns.push(numbers(Side::Input.as_str().to_owned(), &|row| row.input));
    columns.push(numbers(Side::Output.as_str().to_owned(), &|row| row.output));
    columns.extend(
        Quality::VARIANTS
            .iter()
            .enumerate()
            .map(|(at, quality)| numbers(column(*quality), &|row| row.qualities[at])),
    );
    TextTable { columns, has_total: true }.text(Some(room))
}

/// What the last four columns say.
pub(super) fn legend() -> Vec<String> {
    let line = |quality: &Quality| format!("{:<17}  {}", column(*quality), meaning(*quality));
    Quality::VARIANTS.iter().map(line).collect()
}

/// The same in two lines.
pub(super) fn short_legend() -> [&'static str; 2] {
    [
        "exact: proven by reports or rules    lower bound: cut off, may be more",
        "estimated: a good guess              unknown: billed later, or died first",
    ]
}

/// The column of calls whose worse number has this quality.
fn column(quality: Quality) -> String {
    format!("calls_{}", quality.as_str())
}

fn meaning(quality: Quality) -> &'static str {
    match quality {
        Quality::Exact => "the service's own numbers, or counted by its very rules",
        Quality::LowerBound => "cut off: what went by is counted, and may be less than all",
        Quality::Estimated => "a good guess, and said to be one",
        Quality::Unknown => "no number: work that is billed later, or a call that died",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_fits_eighty_columns_and_explains_every_column() {
        let (legend, tally) = (legend(), TopicTally::default());
        let table = table(&tally, &Departments::default(), 400);
        assert!(short_legend().iter().all(|line| line.len() <= 80));
        for line in &legend {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(table.contains(line.split(' ').next().unwrap()), "{line}");
        }
    }

    #[test]
    fn who_the_callers_are_stands_where_there_is_room() {
        let (tally, departments) = (TopicTally::default(), Departments::default());
        assert!(table(&tally, &departments, WIDE_COLUMNS).contains("what it does"));
        let narrow = table(&tally, &departments, 80);
        assert!(!narrow.contains("what it does"));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    }
}
