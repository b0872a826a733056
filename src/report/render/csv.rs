//! A report as CSV: a header and the lines, with the total only where that is asked for, so that a sum over a column
//! is the column's sum.

use std::io::Write;

use super::fields::{Cell, FieldKind};
use super::table::is_reserved;
use crate::report::error::ReportError;
use crate::report::key_value::KeyValue;
use crate::report::sums::ReportSums;
use crate::report::tally::Report;
use metering::names;

impl Report {
    pub(super) fn csv(&self, total: bool, out: &mut impl Write) -> Result<(), ReportError> {
        let fields = self.fields();
        let mut writer = csv::Writer::from_writer(out);
        let header = fields.iter().map(|field| names::cell(&field.name).into_owned());
        let written = writer.write_record(header).and_then(|()| {
            for (keys, sums) in self.lines_and(total) {
                writer.write_record(fields.iter().map(|field| self.csv_cell(field.kind, keys, sums)))?;
            }
            Ok(writer.flush()?)
        });
        Ok(written.map_err(std::io::Error::from)?)
    }

    /// A cell is empty where nothing is known.
    fn csv_cell(&self, kind: FieldKind, keys: &[KeyValue], sums: &ReportSums) -> String {
        match self.cell(kind, keys, sums) {
            Cell::Key(Some(key)) => {
                key.label(|name| names::quoted(names::cell(name), is_reserved)).into_owned()
            }
            Cell::Key(None) => self.total_label(kind),
            Cell::Number(number) => number.to_string(),
            Cell::Money(amount) => amount.map(|amount| amount.to_string()).unwrap_or_default(),
            Cell::Word(word) => names::cell(word).into_owned(),
        }
    }
}
