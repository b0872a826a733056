//! A tally as a table, CSV or JSON.

use std::io::Write;
use std::str::FromStr;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

use super::{Line, Report, ReportError, Sums};

/// First key of the total line.
const TOTAL: &str = "total";

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Table,
    /// A header, the lines, and the total last.
    Csv,
    /// `{"lines": [{..}], "total": {..}}`
    Json,
}

impl FromStr for Format {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Format, ReportError> {
        match text {
            "table" => Ok(Format::Table),
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            _ => Err(ReportError::Format(text.to_owned())),
        }
    }
}

impl Report {
    /// Writes the report.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, format: Format, out: &mut impl Write) -> Result<(), ReportError> {
        match format {
            Format::Table => writeln!(out, "{}", self.table())?,
            Format::Csv => self.csv(out)?,
            Format::Json => writeln!(out, "{:#}", self.json())?,
        }
        Ok(())
    }

    fn header(&self) -> Vec<&'static str> {
        self.by.iter().map(|key| key.as_str()).chain(Sums::COLUMNS).collect()
    }

    /// Every line as text, the total last.
    fn rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        let mut keys = vec![String::new(); self.by.len()];
        if let Some(first) = keys.first_mut() {
            TOTAL.clone_into(first);
        }
        let total = Line { keys, sums: self.total };
        self.lines.iter().cloned().chain([total]).map(|line| {
            let numbers = line.sums.values().map(|number| number.to_string());
            line.keys.into_iter().chain(numbers).collect()
        })
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(self.header());
        for row in self.rows() {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn csv(&self, out: &mut impl Write) -> Result<(), ReportError> {
        let mut writer = csv::Writer::from_writer(out);
        let written = writer.write_record(self.header()).and_then(|()| {
            self.rows().try_for_each(|row| writer.write_record(row))?;
            Ok(writer.flush()?)
        });
        Ok(written.map_err(std::io::Error::from)?)
    }

    fn json(&self) -> Value {
        let sums = |sums: &Sums| Sums::COLUMNS.into_iter().zip(sums.values());
        let line = |line: &Line| {
            let keys = self.by.iter().zip(&line.keys);
            let keys = keys.map(|(key, value)| (key.as_str().to_owned(), Value::from(value.as_str())));
            let numbers = sums(&line.sums).map(|(name, number)| (name.to_owned(), number.into()));
            Value::Object(keys.chain(numbers).collect())
        };
        let total: Map<String, Value> =
            sums(&self.total).map(|(name, number)| (name.to_owned(), number.into())).collect();
        serde_json::json!({"lines": self.lines.iter().map(line).collect::<Vec<_>>(), "total": total})
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn report() -> Report {
        let sums = |calls, input| Sums { calls, input, ..Sums::default() };
        let line = |caller: &str, sums| Line { keys: vec![caller.to_owned(), "m,1".to_owned()], sums };
        Report {
            by: vec![Key::Caller, Key::Model],
            lines: vec![line("a", sums(1, 1_234_567)), line("team-b", sums(22, 8))],
            total: sums(23, 1_234_575),
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        report().write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right_and_ends_with_the_total() {
        let table = written(Format::Table);
        let lines: Vec<&str> = table.lines().filter(|line| line.contains("m,1")).collect();
        let end = |line: &str, number: &str| line.find(number).unwrap() + number.len();
        assert_eq!(end(lines[0], "1234567"), end(lines[1], "       8"), "{table}");
        assert!(table.lines().rev().nth(1).unwrap().contains("total"), "{table}");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let csv = written(Format::Csv);
        let mut lines = csv.lines();
        let header = "caller,model,calls,input,input_cached,output,output_reasoning,exact,lower_bound,estimated,unknown_calls";
        assert_eq!(lines.next(), Some(header));
        assert_eq!(lines.next(), Some("a,\"m,1\",1,1234567,0,0,0,0,0,0,0"));
        assert_eq!(lines.last(), Some("total,,23,1234575,0,0,0,0,0,0,0"));
    }

    #[test]
    fn json_has_lines_and_a_total() {
        let json: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(json["lines"][1]["caller"], "team-b");
        assert_eq!(json["lines"][1]["calls"], 22);
        assert_eq!(json["total"]["input"], 1_234_575);
    }
}
