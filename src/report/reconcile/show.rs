//! A reconciliation as a table, CSV or JSON. Names are hostile text: others chose them.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use smol_str::SmolStr;
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::attribution::Explained;
use super::billed::UnmatchedMeter;
use super::cause::Cause;
use super::line_key::Basis;
use super::measure::Measure;
use super::quantity::Quantity;
use super::reconciliation::{OneSided, ReconciledLine, ReconciledSums, Reconciliation};
use crate::report::error::ReportError;
use metering::names;

/// Things of one kind that people are shown.
const SHOWN_MAX: usize = 20;

/// Columns in front of the causes.
const COLUMNS: [&str; 10] =
    ["basis", "resource", "deployment", "model", "day", "measure", "tracked", "billed", "delta", "ratio"];

/// Columns behind them.
const VERDICT: [&str; 2] = ["open", "over_tolerance"];

/// How a reconciliation is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ReconciliationFormat {
    /// For people: the lines that differ, the totals, and what was not matched.
    #[default]
    Table,
    /// Every line, with a column for each cause.
    Csv,
    /// Everything, as one document.
    Json,
}

impl Reconciliation {
    /// Writes it.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, format: ReconciliationFormat, out: &mut impl Write) -> Result<(), ReportError> {
        match format {
            ReconciliationFormat::Table => self.tables(out),
            ReconciliationFormat::Csv => Ok(self.csv(out).map_err(std::io::Error::from)?),
            ReconciliationFormat::Json => {
                let json = serde_json::to_string_pretty(&Document::of(self)).map_err(std::io::Error::from)?;
                Ok(writeln!(out, "{}", names::json(&json))?)
            }
        }
    }

    fn tables(&self, out: &mut impl Write) -> Result<(), ReportError> {
        let differing: Vec<&ReconciledLine> =
            self.lines.iter().filter(|line| line.sums.delta() != Quantity::ZERO).collect();
        if !differing.is_empty() {
            writeln!(out, "{}", lines_table(&differing))?;
        }
        writeln!(out, "{}\n", totals_table(self))?;
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

    fn csv(&self, out: &mut impl Write) -> csv::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        let causes = Cause::VARIANTS.iter().map(|cause| cause.as_str());
        writer.write_record(COLUMNS.into_iter().chain(causes).chain(VERDICT))?;
        for line in &self.lines {
            let names = names_of(line).map(|name| names::cell(&name).into_owned());
            let causes = Cause::VARIANTS.iter().map(|cause| line.sums.explained.of(*cause).to_string());
            let sums = &line.sums;
            let numbers = [sums.tracked, sums.billed, sums.delta()].map(|number| number.to_string());
            let verdict = [sums.explained.open().to_string(), line.is_over.to_string()];
            let cells = names.into_iter().chain(numbers).chain([sums.ratio().unwrap_or_default()]);
            writer.write_record(cells.chain(causes).chain(verdict))?;
        }
        Ok(writer.flush()?)
    }
}

/// The names of a line, in the order of the columns.
fn names_of(line: &ReconciledLine) -> [String; 6] {
    let scope = line.scope.to_string();
    let (deployment, model) = match line.basis {
        Basis::Metrics => (scope, String::new()),
        Basis::CostExport => (String::new(), scope),
    };
    let (basis, measure) = (line.basis.as_str().to_owned(), line.measure.as_str().to_owned());
    [basis, line.resource.to_string(), deployment, model, line.day.to_string(), measure]
}

fn lines_table(lines: &[&ReconciledLine]) -> Table {
    let mut table = new_table(&["basis", "resource", "deployment or model", "day", "measure"]);
    for line in lines {
        let [basis, resource, deployment, model, day, measure] = names_of(line);
        let names = [basis, resource, deployment + &model, day, measure];
        let names = names.into_iter().map(|name| names::shown(&name).into_owned());
        let verdict = if line.is_over { " !" } else { "" };
        table.add_row(names.chain(numbers(&line.sums, verdict)));
    }
    table
}

fn totals_table(reconciliation: &Reconciliation) -> Table {
    let mut table = new_table(&["basis", "measure"]);
    for ((basis, measure), sums) in &reconciliation.totals {
        let names = [basis.as_str().to_owned(), measure.as_str().to_owned()];
        table.add_row(names.into_iter().chain(numbers(sums, "")));
    }
    table
}

fn new_table(names: &[&str]) -> Table {
    let mut table = Table::new();
    let numbers = ["tracked", "billed", "delta", "ratio"];
    let header = names.iter().copied().chain(numbers).chain(["causes"]);
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(names.len()).take(numbers.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The cells of numbers and causes.
fn numbers(sums: &ReconciledSums, verdict: &str) -> [String; 5] {
    let [tracked, billed, delta] = [sums.tracked, sums.billed, sums.delta()].map(|number| number.to_string());
    let ratio = sums.ratio().unwrap_or_default();
    [tracked, billed, delta, ratio, causes_text(&sums.explained) + verdict]
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

/// All of it, as JSON has it.
#[derive(Serialize)]
struct Document<'a> {
    tolerance: String,
    within_tolerance: bool,
    lines: Vec<LineJson<'a>>,
    totals: Vec<TotalJson<'a>>,
    only_in_azure: Vec<OneSidedJson<'a>>,
    only_in_ours: Vec<OneSidedJson<'a>>,
    not_covered: Vec<NotCovered<'a>>,
    unmatched_meters: &'a [UnmatchedMeter],
    /// `complete`, what was left out, what of the range is not there, and notes.
    #[serde(flatten)]
    completeness: Map<String, Value>,
}

#[derive(Serialize)]
struct LineJson<'a> {
    basis: &'a str,
    resource: &'a str,
    deployment: Option<&'a str>,
    model: Option<&'a str>,
    day: String,
    measure: &'a str,
    #[serde(flatten)]
    sums: SumsJson,
    over_tolerance: bool,
}

#[derive(Serialize)]
struct TotalJson<'a> {
    basis: &'a str,
    measure: &'a str,
    #[serde(flatten)]
    sums: SumsJson,
}

#[derive(Serialize)]
struct SumsJson {
    tracked: Quantity,
    billed: Quantity,
    delta: Quantity,
    ratio: Option<Box<RawValue>>,
    causes: CausesJson,
    open: Quantity,
}

/// The causes that explain something, as members.
struct CausesJson(Explained);

#[derive(Serialize)]
struct OneSidedJson<'a> {
    basis: &'a str,
    resource: &'a str,
    deployment: Option<&'a str>,
    model: Option<&'a str>,
}

#[derive(Serialize)]
struct NotCovered<'a> {
    resource: &'a str,
    calls: u64,
}

impl<'a> Document<'a> {
    fn of(all: &'a Reconciliation) -> Document<'a> {
        let total = |((basis, measure), sums): (&'a (Basis, Measure), &'a ReconciledSums)| TotalJson {
            basis: basis.as_str(),
            measure: measure.as_str(),
            sums: SumsJson::of(sums),
        };
        let one_sided = |one: &'a OneSided| {
            let (deployment, model) = scope(one.basis, &one.scope);
            OneSidedJson { basis: one.basis.as_str(), resource: &one.resource, deployment, model }
        };
        Document {
            tolerance: all.tolerance.to_string(),
            within_tolerance: all.is_within(),
            lines: all.lines.iter().map(LineJson::of).collect(),
            totals: all.totals.iter().map(total).collect(),
            only_in_azure: all.only_in_azure.iter().map(one_sided).collect(),
            only_in_ours: all.only_in_ours.iter().map(one_sided).collect(),
            not_covered: all
                .not_covered
                .iter()
                .map(|(resource, calls)| NotCovered { resource, calls: *calls })
                .collect(),
            unmatched_meters: &all.unmatched_meters,
            completeness: all.completeness.members(),
        }
    }
}

impl<'a> LineJson<'a> {
    fn of(line: &'a ReconciledLine) -> LineJson<'a> {
        let (deployment, model) = scope(line.basis, &line.scope);
        LineJson {
            basis: line.basis.as_str(),
            resource: &line.resource,
            deployment,
            model,
            day: line.day.to_string(),
            measure: line.measure.as_str(),
            sums: SumsJson::of(&line.sums),
            over_tolerance: line.is_over,
        }
    }
}

/// The deployment, or the model.
fn scope(basis: Basis, name: &str) -> (Option<&str>, Option<&str>) {
    match basis {
        Basis::Metrics => (Some(name), None),
        Basis::CostExport => (None, Some(name)),
    }
}

impl SumsJson {
    fn of(sums: &ReconciledSums) -> SumsJson {
        SumsJson {
            tracked: sums.tracked,
            billed: sums.billed,
            delta: sums.delta(),
            ratio: sums.ratio().and_then(|ratio| RawValue::from_string(ratio).ok()),
            causes: CausesJson(sums.explained),
            open: sums.explained.open(),
        }
    }
}

impl Serialize for CausesJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (cause, part) in self.0.all() {
            map.serialize_entry(cause.as_str(), &part)?;
        }
        map.end()
    }
}
