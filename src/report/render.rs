//! A tally as a table, CSV or JSON.
//!
//! Keys are names that others chose. None can be taken for the total, which in a table stands under
//! a rule of its own: a name that would read like it has `'` in front.

use std::borrow::Cow;
use std::io::Write;

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use serde_json::{Map, Value};
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::columns::ReportSums;
use super::error::ReportError;
use super::tally::{Report, ReportLine};
use metering::names;

/// First key of the total line, and what it is where calls have no price.
const TOTAL: &str = "total";
const INCOMPLETE: &str = "total (incomplete)";

/// The columns that prices add.
const PRICED: [&str; 3] = ["cost", "currency", "unpriced_calls"];

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Table,
    /// A header, the lines, and the total last.
    Csv,
    /// `{"lines": [{..}], "total": {..}}`
    Json,
}

impl Report {
    /// Writes the report.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, format: Format, out: &mut impl Write) -> Result<(), ReportError> {
        match format {
            Format::Table => writeln!(out, "{}", ruled(&self.table().to_string()))?,
            Format::Csv => self.csv(out)?,
            Format::Json => writeln!(out, "{}", names::json(&format!("{:#}", self.json())))?,
        }
        Ok(())
    }

    fn header(&self) -> Vec<&'static str> {
        let priced = self.currency.iter().flat_map(|_| PRICED);
        self.by.iter().map(|key| key.as_str()).chain(ReportSums::columns()).chain(priced).collect()
    }

    /// The cells that prices add to a line; none without prices.
    fn priced(&self, sums: &ReportSums) -> Vec<String> {
        let Some(currency) = &self.currency else { return Vec::new() };
        vec![sums.cost.to_string(), names::cell(currency).into_owned(), sums.unpriced_calls.to_string()]
    }

    /// Every line as text, the total last; `key`: a name as it may stand there.
    fn rows<'a>(&'a self, key: fn(&str) -> Cow<'_, str>) -> impl Iterator<Item = Vec<String>> + 'a {
        let mut total = vec![String::new(); self.by.len()];
        if let Some(first) = total.first_mut() {
            if self.unpriced.is_empty() { TOTAL } else { INCOMPLETE }.clone_into(first);
        }
        let lines = self.lines.iter().map(move |line| {
            let keys = line.keys.iter().map(|name| names::quoted(key(name), reads_like_total).into_owned());
            (keys.collect(), &line.sums)
        });
        lines.chain([(total, &self.total)]).map(|(keys, sums)| {
            let numbers = sums.values().map(|number| number.to_string());
            keys.into_iter().chain(numbers).chain(self.priced(sums)).collect()
        })
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(self.header());
        for row in self.rows(names::shown) {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for place in self.total.left_out() {
            if let Some(column) = table.column_mut(self.by.len() + place) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        table
    }

    fn csv(&self, out: &mut impl Write) -> Result<(), ReportError> {
        let mut writer = csv::Writer::from_writer(out);
        let written = writer.write_record(self.header()).and_then(|()| {
            self.rows(names::cell).try_for_each(|row| writer.write_record(row))?;
            Ok(writer.flush()?)
        });
        Ok(written.map_err(std::io::Error::from)?)
    }

    fn json(&self) -> Value {
        let line = |line: &ReportLine| {
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
        if self.repeated_bills > 0 {
            json["repeated_bills"] = self.repeated_bills.into();
        }
        json
    }

    /// A line's numbers. Money is a string: a number of JSON may be read as a float.
    fn members<'a>(&'a self, sums: &ReportSums) -> impl Iterator<Item = (String, Value)> + use<'a> {
        let priced = self.currency.as_ref().map(|currency| {
            let values =
                [Value::from(sums.cost.to_string()), currency.as_str().into(), sums.unpriced_calls.into()];
            PRICED.into_iter().zip(values)
        });
        let numbers = ReportSums::columns().zip(sums.values().map(Value::from));
        numbers.chain(priced.into_iter().flatten()).map(|(name, value)| (name.to_owned(), value))
    }
}

/// A person, or a program that knows no case, would take it for the total.
fn reads_like_total(name: &str) -> bool {
    let name = name.trim_end().to_lowercase();
    name.strip_prefix(TOTAL).is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('('))
}

/// The table with a double rule above its last row, as below its header: no name can draw that. Each row is
/// one line, since none has a line end, and so is each rule.
fn ruled(table: &str) -> String {
    /// The total, and the rule below it.
    const BELOW: usize = 2;
    let mut lines: Vec<Cow<'_, str>> = table.lines().map(Cow::Borrowed).collect();
    if let Some(rule) = lines.len().checked_sub(BELOW + 1).and_then(|at| lines.get_mut(at)) {
        *rule = Cow::Owned(rule.replace('─', "═"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::group_by::GroupBy;
    use super::*;

    fn report() -> Report {
        let sums = |calls, input| ReportSums::of([("calls", calls), ("input", input)]);
        let line = |caller: &str, sums| ReportLine { keys: vec![caller.to_owned(), "m,1".to_owned()], sums };
        Report {
            by: vec![GroupBy::Caller, GroupBy::Model],
            lines: vec![line("a", sums(1, 1_234_567)), line("team-b", sums(22, 8))],
            total: sums(23, 1_234_575),
            currency: None,
            unpriced: BTreeMap::new(),
            repeated_bills: 0,
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
        assert!(csv.lines().next().unwrap().ends_with(",web_fetches,cost,currency,unpriced_calls"), "{csv}");
        let numbers = "23,1234575,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0";
        assert_eq!(csv.lines().last(), Some(&*format!("total (incomplete),,{numbers},0.00,USD,22")));
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
    fn a_table_shows_the_units_that_there_are() {
        let shows = |report: &Report, unit: &str| text(report, Format::Table).contains(unit);
        let mut report = report();
        assert!(!shows(&report, "images") && shows(&report, "estimated"));
        report.total = ReportSums::of([("calls", 1), ("images", 7_654_321)]);
        assert!(shows(&report, "images") && shows(&report, "7654321") && !shows(&report, "pages"));
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let csv = written(Format::Csv);
        let mut lines = csv.lines();
        let header = "caller,model,calls,input,input_cached,output,output_reasoning,exact,lower_bound,estimated,unknown_calls,\
            audio_ms,video_ms,images,characters,pages,search_units,web_searches,web_fetches";
        assert_eq!(lines.next(), Some(header));
        assert_eq!(lines.next(), Some("a,\"m,1\",1,1234567,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"));
        assert_eq!(lines.last(), Some("total,,23,1234575,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"));
    }

    #[test]
    fn json_has_lines_and_a_total() {
        let json: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(json["lines"][1]["caller"], "team-b");
        assert_eq!(json["lines"][1]["calls"], 22);
        assert_eq!(json["total"]["input"], 1_234_575);
    }
    /// A report of these keys, two a line.
    fn of(keys: &[(String, String)]) -> Report {
        let line = |(a, b): &(String, String)| ReportLine {
            keys: vec![a.clone(), b.clone()],
            sums: ReportSums::of([("calls", 1)]),
        };
        let total = ReportSums::of([("calls", keys.len() as u64)]);
        Report { lines: keys.iter().map(line).collect(), total, ..report() }
    }

    fn text(report: &Report, format: Format) -> String {
        let mut out = Vec::new();
        report.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_is_no_formula_no_escape_and_not_the_total() {
        let names = [
            ("=HYPERLINK(\"http://e\",\"x\")", "\"'=HYPERLINK(\"\"http://e\"\",\"\"x\"\")\""),
            ("a\ntotal,99,99", "\"a\\u{a}total,99,99\""),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("total", "'total"),
            ("TOTAL ", "'TOTAL "),
            ("'total", "''total"),
            ("total (incomplete)", "'total (incomplete)"),
            ("total-cost", "total-cost"),
        ];
        let report = of(&names.map(|(name, _)| (name.to_owned(), "m".to_owned())));
        let csv = text(&report, Format::Csv);
        let cells: Vec<_> = csv.lines().skip(1).collect();
        let expected = names.map(|(_, cell)| format!("{cell},m,1{}", ",0".repeat(16)));
        assert_eq!(cells[..names.len()], expected);
        assert_eq!(cells[names.len()..], [format!("total,,9{}", ",0".repeat(16))]);
        let table = text(&report, Format::Table);
        let rule = |line: &str| line.trim().chars().all(|c| c == '═');
        let lines: Vec<&str> = table.lines().collect();
        let rules: Vec<_> = (0..lines.len()).filter(|at| rule(lines[*at])).collect();
        assert_eq!(rules, [2, lines.len() - 3], "{table}");
        let totals: Vec<_> = lines.iter().filter(|line| line.trim_start().starts_with("total ")).collect();
        assert_eq!(totals, [&lines[lines.len() - 2]], "{table}");
    }

    /// Texts that are hard to show.
    fn hostile() -> impl Strategy<Value = String> {
        let hard = "=+-@＝＋－＠'\"\\u{}09af,;| \t\r\n\0\u{1b}\u{7f}\u{9b}\u{ad}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{3164}totalTOTAL(é";
        let hard = prop::sample::select(hard.chars().collect::<Vec<_>>());
        prop::collection::vec(prop_oneof![3 => hard, 1 => any::<char>()], 0..12)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        /// For any names, a reader of CSV finds as many rows and cells as there are, in which nothing is
        /// hidden and nothing is a formula; a table has as many lines; JSON has the names themselves.
        #[test]
        fn any_names_stay_in_their_cells(
            keys in prop::collection::vec((hostile(), hostile()), 0..6)
        ) {
            let report = of(&keys);
            let csv = text(&report, Format::Csv);
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let columns = reader.headers().unwrap().len();
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(rows.len(), keys.len() + 1);
            for cell in rows.iter().flat_map(csv::StringRecord::iter) {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']), "{:?}", cell);
                prop_assert_eq!(names::shown_lines(cell).replace("\\u{5c}", "\\"), cell);
            }
            prop_assert!(rows.iter().all(|row| row.len() == columns));
            prop_assert!(rows.iter().rev().skip(1).all(|row| &row[0] != TOTAL && &row[0] != INCOMPLETE));
            let table = text(&report, Format::Table);
            prop_assert_eq!(table.lines().count(), text(&of(&vec![("a".to_owned(), "b".to_owned()); keys.len()]), Format::Table).lines().count());
            prop_assert!(table.chars().all(|c| c == '\n' || !names::shown(&format!("a{c}")).contains("u{")), "{}", table);
            let json: Value = serde_json::from_str(&text(&report, Format::Json)).unwrap();
            for (line, (a, b)) in json["lines"].as_array().unwrap().iter().zip(&keys) {
                prop_assert_eq!((line["caller"].as_str(), line["model"].as_str()), (Some(&**a), Some(&**b)));
            }
        }
    }
}
