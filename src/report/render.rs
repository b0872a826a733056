//! A tally as a table, CSV or JSON.

use std::io::Write;
use std::str::FromStr;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

use super::{Line, Report, ReportError, Sums};

/// First key of the total line, and what it is where calls have no price.
const TOTAL: &str = "total";
const INCOMPLETE: &str = "total (incomplete)";

/// The columns that prices add.
const PRICED: [&str; 3] = ["cost", "currency", "unpriced_calls"];

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
        let priced = self.currency.iter().flat_map(|_| PRICED);
        self.by.iter().map(|key| key.as_str()).chain(Sums::COLUMNS).chain(priced).collect()
    }

    /// What prices add to a line; nothing without them.
    fn priced(&self, sums: &Sums) -> Vec<String> {
        let Some(currency) = &self.currency else { return Vec::new() };
        vec![sums.cost.to_string(), currency.clone(), sums.unpriced_calls.to_string()]
    }

    /// Every line as text, the total last.
    fn rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        let mut keys = vec![String::new(); self.by.len()];
        if let Some(first) = keys.first_mut() {
            if self.unpriced.is_empty() { TOTAL } else { INCOMPLETE }.clone_into(first);
        }
        let total = Line { keys, sums: self.total };
        self.lines.iter().cloned().chain([total]).map(|line| {
            let numbers = line.sums.values().map(|number| number.to_string());
            line.keys.into_iter().chain(numbers).chain(self.priced(&line.sums)).collect()
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
        let line = |line: &Line| {
            let keys = self.by.iter().zip(&line.keys);
            let keys = keys.map(|(key, value)| (key.as_str().to_owned(), Value::from(value.as_str())));
            Value::Object(keys.chain(self.members(&line.sums)).collect())
        };
        let lines: Vec<Value> = self.lines.iter().map(line).collect();
        let total: Map<String, Value> = self.members(&self.total).collect();
        let mut json = serde_json::json!({"lines": lines, "total": total});
        if self.currency.is_some() {
            json["complete"] = self.unpriced.is_empty().into();
            json["unpriced"] = serde_json::json!(self.unpriced);
        }
        json
    }

    /// A line's numbers. Money is a string: a number of JSON may be read as a float.
    fn members<'a>(&'a self, sums: &Sums) -> impl Iterator<Item = (String, Value)> + use<'a> {
        let priced = self.currency.as_ref().map(|currency| {
            let values =
                [Value::from(sums.cost.to_string()), currency.as_str().into(), sums.unpriced_calls.into()];
            PRICED.into_iter().zip(values)
        });
        let numbers = Sums::COLUMNS.into_iter().zip(sums.values().map(Value::from));
        numbers.chain(priced.into_iter().flatten()).map(|(name, value)| (name.to_owned(), value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Key;
    use super::*;

    fn report() -> Report {
        let sums = |calls, input| Sums { calls, input, ..Sums::default() };
        let line = |caller: &str, sums| Line { keys: vec![caller.to_owned(), "m,1".to_owned()], sums };
        Report {
            by: vec![Key::Caller, Key::Model],
            lines: vec![line("a", sums(1, 1_234_567)), line("team-b", sums(22, 8))],
            total: sums(23, 1_234_575),
            currency: None,
            unpriced: BTreeMap::new(),
        }
    }

    #[test]
    fn prices_add_columns_and_a_model_without_one_makes_the_total_incomplete() {
        let mut report = report();
        report.currency = Some("USD".to_owned());
        report.total.unpriced_calls = 22;
        report.unpriced.insert("m".to_owned(), 22);
        let mut out = Vec::new();
        report.write(Format::Csv, &mut out).unwrap();
        let csv = String::from_utf8(out).unwrap();
        assert!(
            csv.lines().next().unwrap().ends_with(",unknown_calls,cost,currency,unpriced_calls"),
            "{csv}"
        );
        assert_eq!(csv.lines().last(), Some("total (incomplete),,23,1234575,0,0,0,0,0,0,0,0.00,USD,22"));
        assert_eq!(report.unpriced_text().unwrap(), "no price for m (22 calls): the total is incomplete");
        let json = report.json();
        assert_eq!((&json["total"]["cost"], &json["complete"]), (&"0.00".into(), &false.into()));
        report.unpriced.clear();
        assert!(report.unpriced_text().is_none());
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
