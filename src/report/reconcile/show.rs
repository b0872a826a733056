//! A reconciliation as a table, CSV or JSON. Names are hostile text: others chose them.

use std::io::Write;

use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::cause::Cause;
use super::json::ReconciliationJson;
use super::line_key::Basis;
use super::reconciliation::{ReconciledLine, Reconciliation};
use crate::report::error::ReportError;
use metering::names;

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
    /// Writes it. A table is as wide as it wants to be; [`Reconciliation::write_table`] makes it fit a terminal.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, format: ReconciliationFormat, out: &mut impl Write) -> Result<(), ReportError> {
        match format {
            ReconciliationFormat::Table => self.write_table(None, out),
            ReconciliationFormat::Csv => Ok(self.csv(out).map_err(std::io::Error::from)?),
            ReconciliationFormat::Json => {
                let json = serde_json::to_string_pretty(&ReconciliationJson::of(self))
                    .map_err(std::io::Error::from)?;
                Ok(writeln!(out, "{}", names::json(&json))?)
            }
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
pub(super) fn names_of(line: &ReconciledLine) -> [String; 6] {
    let scope = line.scope.to_string();
    let (deployment, model) = match line.basis {
        Basis::Metrics => (scope, String::new()),
        Basis::CostExport => (String::new(), scope),
    };
    let (basis, measure) = (line.basis.as_str().to_owned(), line.measure.as_str().to_owned());
    [basis, line.resource.to_string(), deployment, model, line.day.to_string(), measure]
}
