//! The bill of a month: its usage by department, and its charges.

use std::collections::BTreeMap;

use super::bill_table::{BillColumn, BillTable};
use super::options::CloseOptions;
use crate::report::error::ReportError;
use crate::report::focus::{FOCUS_KEYS, FocusColumn, FocusColumnKind};
use crate::report::group_by::GroupBy;
use crate::report::key_value::KeyValue;
use crate::report::pricing::{Amount, CostSummary, Currency, Unpriced, invoice_lines};
use crate::report::render::{Format, Rendering};
use crate::report::rows::{ReportLine, ReportView};
use crate::report::sums::ReportSums;
use crate::report::tally::Report;

/// The keys of the lines of statements; by the first they are cut into statements.
pub(super) const STATEMENT_KEYS: [GroupBy; 7] = [
    GroupBy::Department,
    GroupBy::CostCenter,
    GroupBy::Caller,
    GroupBy::Deployment,
    GroupBy::Model,
    GroupBy::Tier,
    GroupBy::Day,
];

/// The column of a department's amount on the invoice, and the same in the second currency.
pub(super) const AMOUNTS: [&str; 2] = ["amount", "amount_2"];

/// The bill of a month.
#[derive(Debug)]
pub(super) struct MonthBill {
    /// By department, in order.
    pub(super) departments: Vec<DepartmentBill>,
    /// A line for each department.
    pub(super) totals: BillTable,
    /// The lines of all statements.
    pub(super) usage: BillTable,
    /// The charges as rows of FOCUS.
    pub(super) focus: BillTable,
}

/// The part of a bill that one department pays.
#[derive(Debug)]
pub(super) struct DepartmentBill {
    /// Its name as it stands in CSV; what has none is named in parentheses.
    pub(super) label: String,
    /// Its usage by the [`STATEMENT_KEYS`].
    pub(super) report: Report,
    /// The amount on the invoice, with its currency, and the same in the second one.
    pub(super) amounts: Vec<(Amount, String)>,
}

impl MonthBill {
    /// The keys that the report of a bill is made by.
    pub(super) fn keys() -> (Vec<GroupBy>, Vec<Vec<GroupBy>>) {
        (STATEMENT_KEYS.to_vec(), vec![FOCUS_KEYS.to_vec()])
    }

    pub(super) fn of(report: &Report, options: &CloseOptions) -> Result<MonthBill, ReportError> {
        let usage = table(report)?;
        usage.fits()?;
        let reports = by_department(report);
        let mut totals = table(&totals(report, &reports))?;
        let labels: Vec<String> = totals.rows.iter().filter_map(|row| row.first().cloned()).collect();
        let amounts = amounts(report, &reports);
        for (column, (amounts, _)) in AMOUNTS.into_iter().zip(&amounts) {
            totals.names.push(column.to_owned());
            totals.columns.push(column_of(column));
            totals.rows.iter_mut().zip(amounts).for_each(|(row, amount)| row.push(amount.to_string()));
        }
        let of_department = |at: usize| {
            let found =
                amounts.iter().filter_map(|(lines, currency)| Some((*lines.get(at)?, currency.clone())));
            found.collect()
        };
        let departments = reports.into_iter().zip(labels).enumerate();
        let departments = departments.map(|(at, (report, label))| DepartmentBill {
            label,
            report,
            amounts: of_department(at),
        });
        Ok(MonthBill { departments: departments.collect(), totals, usage, focus: focus(report, options)? })
    }
}

/// Tells what a column of these tables does.
pub(super) fn column_of(name: &str) -> BillColumn {
    let is_key = STATEMENT_KEYS.iter().any(|key| key.to_string() == name);
    match name {
        _ if is_key => BillColumn::Key,
        "currency" | "currency_2" => BillColumn::Key,
        "cost" | "cost_2" | "amount" | "amount_2" => BillColumn::Sum { places_min: 2 },
        _ => BillColumn::Sum { places_min: 0 },
    }
}

/// Tells what a column of FOCUS does.
pub(super) fn focus_column_of(name: &str) -> BillColumn {
    use strum::VariantArray;
    let column = FocusColumn::VARIANTS.iter().find(|column| column.name() == name);
    match column.map(|column| column.kind()) {
        Some(FocusColumnKind::Sum) if name.starts_with("x_") => BillColumn::Sum { places_min: 0 },
        Some(FocusColumnKind::Sum) => BillColumn::Sum { places_min: 1 },
        Some(FocusColumnKind::Origin) => BillColumn::Origin,
        Some(FocusColumnKind::Key) | None => BillColumn::Key,
    }
}

fn table(report: &Report) -> Result<BillTable, ReportError> {
    let mut csv = Vec::new();
    report.write(&Rendering { format: Format::Csv, ..Rendering::default() }, &mut csv)?;
    BillTable::read(&csv, column_of).map_err(ReportError::TooLarge)
}

fn focus(report: &Report, options: &CloseOptions) -> Result<BillTable, ReportError> {
    let mut csv = Vec::new();
    report.focus(&options.focus, &mut csv)?;
    let table = BillTable::read(&csv, focus_column_of).map_err(ReportError::TooLarge)?;
    table.fits()?;
    Ok(table)
}

/// The report of each department.
fn by_department(report: &Report) -> Vec<Report> {
    let mut departments: BTreeMap<&KeyValue, Vec<ReportLine>> = BTreeMap::new();
    for line in &report.lines {
        if let Some(department) = line.keys.first() {
            departments.entry(department).or_default().push(line.clone());
        }
    }
    departments.into_values().map(|lines| part_of(report, report.by.clone(), lines)).collect()
}

/// A line for each department.
fn totals(report: &Report, departments: &[Report]) -> Report {
    let line = |department: &Report| {
        let keys = department.lines.first().and_then(|line| line.keys.first()).into_iter().cloned().collect();
        ReportLine { keys, sums: department.total }
    };
    part_of(report, vec![GroupBy::Department], departments.iter().map(line).collect())
}

/// A report of some lines. Remarks on the whole are not made of it.
fn part_of(report: &Report, by: Vec<GroupBy>, lines: Vec<ReportLine>) -> Report {
    // No part has more than the whole, which could be added up.
    let total = lines.iter().try_fold(ReportSums::default(), |sum, line| sum.plus(&line.sums));
    Report {
        by,
        total: total.unwrap_or(report.total),
        lines,
        views: Vec::new(),
        calendar: report.calendar.clone(),
        unpriced: Unpriced::default(),
        cost: CostSummary { notes: Vec::new(), ..report.cost.clone() },
        currency: report.currency.clone(),
        completeness: report.completeness.clone(),
        ..*report
    }
}

/// Returns what each department pays, to the minor unit, in each currency; together it is the invoice.
fn amounts(report: &Report, departments: &[Report]) -> Vec<(Vec<Amount>, String)> {
    let firsts = departments.iter().map(|department| department.total.cost().unwrap_or_default());
    let seconds = departments.iter().map(|department| department.total.cost_2().unwrap_or_default());
    let first = report.currency.iter().map(|currency| (firsts.clone().collect::<Vec<_>>(), currency));
    let second =
        report.cost.currency_2.iter().map(|currency| (seconds.clone().collect::<Vec<_>>(), currency));
    let both = first.chain(second);
    let paid = |(exact, code): (Vec<Amount>, &String)| {
        let currency = Currency::of(code).ok()?;
        Some((invoice_lines(&exact, currency), code.clone()))
    };
    both.filter_map(paid).collect()
}

/// Lines by some of their keys.
pub(super) fn view_of(report: &Report, key: &GroupBy) -> ReportView {
    let mut lines: BTreeMap<Vec<KeyValue>, ReportSums> = BTreeMap::new();
    let place = report.by.iter().position(|other| other == key);
    for line in &report.lines {
        let keys: Vec<KeyValue> = place.and_then(|place| line.keys.get(place)).into_iter().cloned().collect();
        let sums = lines.entry(keys).or_default();
        *sums = sums.plus(&line.sums).unwrap_or(*sums);
    }
    let lines = lines.into_iter().map(|(keys, sums)| ReportLine { keys, sums });
    ReportView { by: vec![key.clone()], lines: lines.collect() }
}
