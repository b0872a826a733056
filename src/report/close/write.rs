//! The files of a close, and those of an adjustment.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bill::{AMOUNTS, DepartmentBill, MonthBill, column_of, focus_column_of, view_of};
use super::bill_table::{BillColumn, BillTable};
use super::file_stem::FileStems;
use super::folder::NewFolder;
use super::manifest::{self, EarlierManifest, FOCUS, MANIFEST, STATEMENTS, TOTALS, USAGE, changed};
use super::options::CloseOptions;
use super::state::CloseState;
use crate::report::error::ReportError;
use crate::report::focus::FocusColumn;
use crate::report::group_by::GroupBy;
use crate::report::render::{Format, Rendering};
use crate::report::statement::{Statement, StatementCompleteness};
use crate::report::tally::Report;

/// The tables of a page are by these keys; the days are drawn.
const PAGE_KEYS: [GroupBy; 5] =
    [GroupBy::Day, GroupBy::CostCenter, GroupBy::Caller, GroupBy::Model, GroupBy::Deployment];

/// `ChargeClass` of the rows that correct a month which was closed before.
const CORRECTION: &str = "Correction";

/// A month that is closed, with all that is said of it.
#[derive(Debug)]
pub(super) struct Closing<'a> {
    pub(super) bill: &'a MonthBill,
    pub(super) report: &'a Report,
    pub(super) state: &'a CloseState<'a>,
    pub(super) options: &'a CloseOptions,
}

/// An adjustment holds what is more now than was closed before.
struct Adjustment {
    usage: BillTable,
    focus: BillTable,
    totals: BillTable,
}

impl Closing<'_> {
    /// Writes the first close of the month.
    pub(super) fn write_first(&self) -> Result<(), ReportError> {
        let mut folder = NewFolder::begin(&self.options.out)?;
        folder.write(USAGE, &self.bill.usage.csv()?)?;
        folder.write(FOCUS, &self.bill.focus.csv()?)?;
        folder.write(TOTALS, &self.bill.totals.csv()?)?;
        let mut stems = FileStems::default();
        for department in &self.bill.departments {
            let stem = stems.stem(&department.label);
            self.write_statement(department, &format!("{STATEMENTS}/{stem}"), &mut folder)?;
        }
        self.finish(folder, self.members())
    }

    fn members(&self) -> Map<String, Value> {
        manifest::manifest(self.bill, self.report, self.state, self.options)
    }

    fn finish(&self, mut folder: NewFolder, members: Map<String, Value>) -> Result<(), ReportError> {
        let text = manifest::text(members, &folder.files);
        folder.write(MANIFEST, text.as_bytes())?;
        Ok(folder.finish()?)
    }

    fn write_statement(
        &self,
        department: &DepartmentBill,
        name: &str,
        folder: &mut NewFolder,
    ) -> Result<(), ReportError> {
        let formats = [
            ("csv", Format::Csv),
            #[cfg(feature = "parquet")]
            ("parquet", Format::Parquet),
        ];
        for (ending, format) in formats {
            let mut content = Vec::new();
            department.report.write(&Rendering { format, ..Rendering::default() }, &mut content)?;
            folder.write(&format!("{name}.{ending}"), &content)?;
        }
        Ok(folder.write(&format!("{name}.html"), self.statement(department).html().as_bytes())?)
    }

    /// The page of a department.
    fn statement(&self, department: &DepartmentBill) -> Statement {
        let views = PAGE_KEYS.iter().map(|key| view_of(&department.report, key)).collect();
        let page = Report { by: Vec::new(), lines: Vec::new(), views, ..department.report.clone() };
        let mut statement = Statement::of(&page);
        statement.title = format!("Usage statement of {}", department.label);
        let amounts = department.amounts.iter();
        let amounts =
            amounts.map(|(amount, currency)| ("amount to pay".to_owned(), format!("{amount} {currency}")));
        statement.facts.splice(0..0, amounts);
        statement.completeness = self.completeness();
        statement.proof = Some((!self.state.is_found(), self.state.proof_text()));
        statement
    }

    /// Every page says this of the month. No place of an event is named, so that it depends on nothing but the events.
    fn completeness(&self) -> StatementCompleteness {
        let mut completeness = StatementCompleteness {
            is_complete: self.state.is_complete(),
            faults: self.state.faults(),
            remarks: Vec::new(),
            ..StatementCompleteness::of(self.report)
        };
        if !completeness.is_complete {
            completeness.summary =
                format!("{} was closed although it is not complete", self.options.month.name);
        }
        completeness
    }

    /// Writes what is different now from what was closed before, the oldest first; `None` if nothing is.
    pub(super) fn write_adjustment(&self, before: &[EarlierManifest]) -> Result<Option<usize>, ReportError> {
        let mut members = self.members();
        before.iter().try_for_each(|earlier| earlier.check_same(&members))?;
        let adjustment = Adjustment {
            usage: difference(&self.bill.usage, before, USAGE, column_of)?,
            focus: corrections(difference(&self.bill.focus, before, FOCUS, focus_column_of)?),
            totals: difference(&self.bill.totals, before, TOTALS, column_of)?,
        };
        if [&adjustment.usage, &adjustment.focus, &adjustment.totals]
            .iter()
            .all(|table| table.rows.is_empty())
        {
            return Ok(None);
        }
        let number = before.len();
        let mut folder = NewFolder::begin(&self.options.out.join(adjustment_name(number)))?;
        folder.write(USAGE, &adjustment.usage.csv()?)?;
        folder.write(FOCUS, &adjustment.focus.csv()?)?;
        folder.write(TOTALS, &adjustment.totals.csv()?)?;
        let mut stems = FileStems::default();
        for (department, rows) in by_first_cell(&adjustment.usage) {
            let name = format!("{STATEMENTS}/{}.csv", stems.stem(&department));
            folder.write(&name, &adjustment.usage.with(rows).csv()?)?;
        }
        members.insert("departments".to_owned(), departments(&adjustment.totals));
        let before: Vec<&str> = before.iter().map(|earlier| earlier.sha256.as_str()).collect();
        members.insert("adjustment".to_owned(), json!(number));
        members.insert("manifests_before".to_owned(), json!(before));
        self.finish(folder, members)?;
        Ok(Some(number))
    }
}

/// The folder of an adjustment, in that of its close.
pub(super) fn adjustment_name(number: usize) -> String {
    format!("adjustment-{number}")
}

/// A folder with this name is that of an adjustment.
pub(super) fn is_adjustment(name: &str) -> bool {
    name.strip_prefix("adjustment-").is_some_and(|number| number.parse::<usize>().is_ok())
}

fn difference(
    now: &BillTable,
    before: &[EarlierManifest],
    name: &str,
    column: impl Fn(&str) -> BillColumn,
) -> Result<BillTable, ReportError> {
    let mut tables = Vec::new();
    for earlier in before {
        let path = earlier.path.join(name);
        let read = BillTable::read(&earlier.file(name)?, &column);
        tables.push(read.map_err(|problem| changed(&path, &problem))?);
    }
    now.less(&tables).map_err(|problem| {
        changed(&before.first().map(|first| first.path.join(name)).unwrap_or_default(), &problem)
    })
}

/// The rows of FOCUS that correct a month.
fn corrections(mut focus: BillTable) -> BillTable {
    if let Some(place) = focus.place(FocusColumn::ChargeClass.name()) {
        focus
            .rows
            .iter_mut()
            .filter_map(|row| row.get_mut(place))
            .for_each(|cell| CORRECTION.clone_into(cell));
    }
    focus
}

fn by_first_cell(table: &BillTable) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut parts: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for row in &table.rows {
        parts.entry(row.first().cloned().unwrap_or_default()).or_default().push(row.clone());
    }
    parts
}

/// Returns how much more, or less, each department pays.
fn departments(totals: &BillTable) -> Value {
    let currencies = ["currency", "currency_2"].map(|name| totals.place(name));
    let amounts = AMOUNTS.map(|name| totals.place(name));
    let of_row = |row: &Vec<String>| {
        let cell = |place: Option<usize>| place.and_then(|place| row.get(place)).cloned();
        let pairs = currencies.iter().zip(&amounts);
        let amounts = pairs.filter_map(|(currency, amount)| Some((cell(*currency)?, cell(*amount)?.into())));
        let amounts: Map<String, Value> = amounts.collect();
        json!({"department": cell(Some(0)), "amounts": amounts})
    };
    totals.rows.iter().map(of_row).collect::<Vec<_>>().into()
}
