//! The rows of a report as CSV.

use std::io::Write;

use super::charge::FOCUS_KEYS;
use super::columns::FocusColumn;
use super::options::{FocusOptions, FocusVersion};
use super::row::{FocusBill, focus_row};
use crate::report::error::ReportError;
use crate::report::rows::ReportLine;
use crate::report::tally::Report;

impl Report {
    /// Writes the report as rows of FOCUS; it must be by their keys.
    ///
    /// # Errors
    /// If it has no cost, or `out` cannot be written.
    pub(crate) fn focus(&self, options: &FocusOptions, out: &mut impl Write) -> Result<(), ReportError> {
        let columns = FocusColumn::of(options.version);
        let mut writer = csv::Writer::from_writer(out);
        let written = writer.write_record(columns.iter().map(|column| column.name())).and_then(|()| {
            for row in self.focus_rows(options, &columns) {
                writer.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or_default()))?;
            }
            Ok(writer.flush()?)
        });
        Ok(written.map_err(std::io::Error::from)?)
    }

    /// The rows, in order of their keys.
    fn focus_rows<'a>(
        &'a self,
        options: &'a FocusOptions,
        columns: &'a [FocusColumn],
    ) -> impl Iterator<Item = Vec<Option<String>>> + 'a {
        let bill = FocusBill {
            options,
            currency: self.currency.as_deref().unwrap_or_default(),
            versions: &self.cost.versions,
        };
        let lines = self.view_lines(&FOCUS_KEYS).iter();
        lines.filter_map(move |ReportLine { keys, sums }| focus_row(keys, sums, bill, columns))
    }
}

impl FocusVersion {
    /// Such as `1.2`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
