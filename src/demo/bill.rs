//! The bill of the demo, made as `tokenweir report` makes it.

use super::last_run::LastRunFolder;
use crate::report::{CostFiles, GroupBy, Input, Prices, Rates, Rendering, Report, ReportOptions, report};

/// What the bill is by.
pub(super) const BY: &str = "department";

/// Columns of the report of which the demo speaks.
const CALLS: &str = "calls";
const LOWER_BOUND_TOKENS: &str = "lower_bound_tokens";
const UNKNOWN_CALLS: &str = "unknown_calls";

/// The bill of both ledgers, in the currencies of the price list and of the rates.
#[derive(Debug)]
pub(super) struct Bill(Report);

impl Bill {
    /// Reads both ledgers.
    ///
    /// # Errors
    /// A ledger or a file cannot be read.
    pub(super) fn make(folder: &LastRunFolder) -> anyhow::Result<Bill> {
        let cost = CostFiles {
            prices: Some(Prices::read(&[folder.prices()])?),
            rates: Some(Rates::read(&folder.rates())?),
            ptu: None,
        };
        let by = GroupBy::list(BY).map_err(anyhow::Error::msg)?;
        let inputs = folder.ledgers().map(Input::Ledger).into();
        Ok(Bill(report(&ReportOptions { inputs, by, cost, ..ReportOptions::default() })?))
    }

    /// Calls that it is of.
    pub(super) fn calls(&self) -> u64 {
        self.0.total.get(CALLS).unwrap_or(0)
    }

    /// It is of all that both ledgers hold.
    pub(super) fn is_whole(&self) -> bool {
        self.0.completeness.is_whole()
    }

    /// Its table, down to the total. What there is no room for, the command of the same report shows.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn table(&self, columns: usize) -> anyhow::Result<String> {
        let mut text = Vec::new();
        self.0.write(&Rendering { columns: Some(columns), ..Rendering::default() }, &mut text)?;
        let text = String::from_utf8(text)?;
        let lines: Vec<&str> = text.lines().collect();
        let rule = lines.iter().rposition(|line| line.starts_with('═'));
        let total = rule.map_or(lines.len(), |rule| lines.len().min(rule + 2));
        Ok(lines[..total].join("\n"))
    }

    /// What of it is not known, and what the report itself has to say.
    pub(super) fn notes(&self) -> Vec<String> {
        let report = &self.0;
        let bounds = report.total.get(LOWER_BOUND_TOKENS).unwrap_or(0);
        let unknown = report.total.get(UNKNOWN_CALLS).unwrap_or(0);
        let known = [
            format!("not known: calls that were cut off used {bounds} tokens or more: the bill has these"),
            format!("not known: {unknown} calls have no number, and add nothing"),
        ];
        let said = [report.unpriced_text(), report.repeated_bills_text()].into_iter().flatten();
        let said = said.chain(report.cost.notes.iter().cloned()).chain(report.completeness.texts(""));
        known.into_iter().chain(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::callers::HABITS;
    use crate::demo::departments::Departments;

    /// The files that are built in make sense, and every caller of the demo has a department.
    #[test]
    fn its_files_make_sense() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = LastRunFolder::take_at(&temporary.path().join("demo")).unwrap();
        let prices = Prices::read(&[folder.prices()]).unwrap();
        let rates = Rates::read(&folder.rates()).unwrap();
        CostFiles { prices: Some(prices), rates: Some(rates), ptu: None }.check().unwrap();
        let departments = Departments::read(&folder.caller_map()).unwrap();
        let placed = HABITS.iter().filter(|habit| departments.of(habit.id) != "-").count();
        assert_eq!(placed, HABITS.len() - 1, "nobody pays for a forged name");
    }
}
