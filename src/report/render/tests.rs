use jiff::civil::date;
use proptest::prelude::*;
use serde_json::Value;

use super::{Format, Rendering};
use crate::report::calendar::Calendar;
use crate::report::completeness::Completeness;
use crate::report::group_by::GroupBy;
use crate::report::key_value::{KeyValue, MissingKey};
use crate::report::pricing::{Amount, BilledPart, Cost, CostSummary, PriceClass, Unpriced};
use crate::report::rows::ReportLine;
use crate::report::sums::ReportSums;
use crate::report::tally::Report;
use metering::names;

fn name(name: &str) -> KeyValue {
    KeyValue::Name(name.into())
}

fn line(keys: &[KeyValue], sums: ReportSums) -> ReportLine {
    ReportLine { keys: keys.to_vec(), sums }
}

fn report() -> Report {
    let sums = |calls, input| ReportSums::of([("calls", calls), ("input", input)]);
    Report {
        by: vec![GroupBy::Caller, GroupBy::Model],
        lines: vec![
            line(&[name("a"), name("m,1")], sums(1, 1_234_567)),
            line(&[name("team-b"), name("m,1")], sums(22, 8)),
        ],
        total: sums(23, 1_234_575),
        views: Vec::new(),
        calendar: Calendar::default(),
        from: None,
        to: None,
        currency: None,
        unpriced: Unpriced::default(),
        cost: CostSummary::default(),
        repeated_bills: 0,
        completeness: Completeness::default(),
    }
}

/// So many times 10^-18 of the first currency.
fn of_first(whole: u128) -> Cost {
    Cost { first: Some(Amount::of(whole)), second: None }
}

/// A report in which one of two lines has a price.
fn priced() -> Report {
    let mut report = report();
    report.currency = Some("USD".to_owned());
    for sums in [&mut report.lines[0].sums, &mut report.total] {
        sums.charge(of_first(1_500_000_800_000_000_001));
    }
    report.lines[1].sums.unpriced_calls = 22;
    report.total.unpriced_calls = 22;
    let part = BilledPart { class: PriceClass::OutputText, tool: None, quantity: 7 };
    report.unpriced.add("m", 22, [&part].into_iter());
    report
}

fn written(report: &Report, rendering: Rendering) -> String {
    let mut out = Vec::new();
    report.write(&rendering, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn text(report: &Report, format: Format) -> String {
    written(report, Rendering { format, ..Rendering::default() })
}

fn with_total(report: &Report) -> String {
    written(report, Rendering { format: Format::Csv, total: true, ..Rendering::default() })
}

const ZEROS: &str = ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0";

#[test]
fn csv_has_every_column_quotes_what_needs_it_and_no_total() {
    let csv = text(&report(), Format::Csv);
    let mut lines = csv.lines();
    let header = "caller,model,calls,input,input_cached,output,output_reasoning,exact_tokens,lower_bound_tokens,\
        estimated_tokens,unknown_calls,input_cache_write,input_audio,input_image,output_audio,output_image,tool_input,\
        tool_output,contradicted_calls,audio_ms,video_ms,images,characters,pages,search_units,web_searches,web_fetches";
    assert_eq!(lines.next(), Some(header));
    assert_eq!(lines.next(), Some(&*format!("a,\"m,1\",1,1234567{ZEROS}")));
    assert_eq!(lines.next(), Some(&*format!("team-b,\"m,1\",22,8{ZEROS}")));
    assert_eq!(lines.next(), None);
    assert_eq!(with_total(&report()).lines().last(), Some(&*format!("total,,23,1234575{ZEROS}")));
}

#[test]
fn what_has_no_price_is_not_known() {
    let report = priced();
    let csv = with_total(&report);
    let cells: Vec<&str> = csv.lines().map(|line| line.split(ZEROS).last().unwrap()).collect();
    assert!(cells[0].ends_with(",web_fetches,cost,currency,unpriced_calls"), "{csv}");
    assert_eq!(cells[1..], [",1.500000800000000001,USD,0", ",,USD,22", ",1.500000800000000001,USD,22"]);
    assert!(csv.lines().last().unwrap().starts_with("total (incomplete),,23,"), "{csv}");
    let json: Value = serde_json::from_str(&text(&report, Format::Json)).unwrap();
    assert_eq!(json["lines"][0]["cost"], "1.500000800000000001");
    assert_eq!((&json["lines"][1]["cost"], &json["complete"]), (&Value::Null, &false.into()));
    let table = text(&report, Format::Table);
    let ends: Vec<&str> = table.lines().map(|line| line.rsplit("  ").next().unwrap().trim()).collect();
    assert_eq!(table.lines().next().unwrap().matches("cost USD").count(), 1, "{table}");
    assert_eq!(ends, ["unpriced_calls", &"═".repeat(67), "0", "22", &"═".repeat(67), "22"], "{table}");
    assert!(table.contains("  1.500001 ") && table.contains("         - "), "{table}");
    let wide = written(&report, Rendering { wide: true, ..Rendering::default() });
    assert!(wide.contains("1.500000800000000001") && wide.contains("web_fetches"), "{wide}");
    // A report of nothing costs nothing, and that is known.
    let nothing =
        Report { lines: Vec::new(), total: ReportSums::default(), unpriced: Unpriced::default(), ..priced() };
    assert!(with_total(&nothing).lines().last().unwrap().ends_with(",0.00,USD,0"));
}

#[test]
fn a_table_shows_what_there_is_and_ends_with_the_total() {
    let table = text(&report(), Format::Table);
    assert_eq!(
        table,
        "caller  model  calls    input\n\
         ═════════════════════════════\n\
         a       m,1        1  1234567\n\
         team-b  m,1       22        8\n\
         ═════════════════════════════\n\
         total             23  1234575\n"
    );
    let mut report = report();
    report.total = ReportSums::of([("calls", 1), ("images", 7_654_321)]);
    let table = text(&report, Format::Table);
    assert!(table.contains("images") && table.contains("7654321") && !table.contains("pages"), "{table}");
    assert!(!table.contains("input"), "{table}");
}

#[test]
fn what_is_missing_is_named_where_people_read_and_null_where_programs_do() {
    let missing = [MissingKey::Unattributed, MissingKey::NotInTheMap];
    let day = KeyValue::Day(date(2026, 11, 22));
    let mut report = report();
    report.by = vec![GroupBy::Department, GroupBy::Day];
    report.lines = vec![line(&[name("(Unattributed )"), day.clone()], report.total)];
    let missing = missing.map(|missing| line(&[KeyValue::Missing(missing), day.clone()], report.total));
    report.lines.extend(missing);
    let firsts = |text: String| -> Vec<String> {
        let keys = |line: &str| line.split(",23,").next().unwrap().split("  ").next().unwrap().to_owned();
        text.lines().filter(|line| line.contains("2026-11-22")).map(keys).collect()
    };
    assert_eq!(
        firsts(text(&report, Format::Csv)),
        ["'(Unattributed ),2026-11-22", "(unattributed),2026-11-22", "(not in the map),2026-11-22"]
    );
    assert_eq!(
        firsts(text(&report, Format::Table)),
        ["'(Unattributed )", "(unattributed)", "(not in the map)"]
    );
    let json: Value = serde_json::from_str(&text(&report, Format::Json)).unwrap();
    let line = |at: usize| (json["lines"][at]["department"].clone(), json["lines"][at]["missing"].clone());
    assert_eq!(line(0), ("(Unattributed )".into(), Value::Null));
    assert_eq!(line(1), (Value::Null, serde_json::json!({"department": "unattributed"})));
    assert_eq!(line(2), (Value::Null, serde_json::json!({"department": "not in the map"})));
    assert_eq!((&json["total"]["day"], &json["lines"][0]["day"]), (&Value::Null, &"2026-11-22".into()));
}

#[test]
fn json_has_lines_and_a_total() {
    let json: Value = serde_json::from_str(&text(&report(), Format::Json)).unwrap();
    assert_eq!(json["lines"][1]["caller"], "team-b");
    assert_eq!(json["lines"][1]["calls"], 22);
    assert_eq!(json["total"]["input"], 1_234_575);
    assert_eq!((&json["time_zone"], &json["from"]), (&"UTC".into(), &Value::Null));
    assert_eq!(json["total"].get("caller"), None);
}

/// A report of these keys, two a line.
fn of(keys: &[(String, String)]) -> Report {
    let lines = keys.iter().map(|(a, b)| line(&[name(a), name(b)], ReportSums::of([("calls", 1)])));
    let total = ReportSums::of([("calls", keys.len() as u64)]);
    Report { lines: lines.collect(), total, ..report() }
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
        ("(no model)", "'(no model)"),
        (" (NOT IN THE MAP)", "' (NOT IN THE MAP)"),
        ("(mine)", "(mine)"),
    ];
    let report = of(&names.map(|(name, _)| (name.to_owned(), "m".to_owned())));
    let csv = with_total(&report);
    let cells: Vec<_> = csv.lines().skip(1).collect();
    let expected = names.map(|(_, cell)| format!("{cell},m,1,0{ZEROS}"));
    assert_eq!(cells[..names.len()], expected);
    assert_eq!(cells[names.len()..], [format!("total,,12,0{ZEROS}")]);
    let table = text(&report, Format::Table);
    let rule = |line: &str| line.chars().all(|c| c == '═');
    let lines: Vec<&str> = table.lines().collect();
    let rules: Vec<_> = (0..lines.len()).filter(|at| rule(lines[*at])).collect();
    assert_eq!(rules, [1, lines.len() - 2], "{table}");
    let totals: Vec<_> = lines.iter().filter(|line| line.starts_with("total ")).collect();
    assert_eq!(totals, [&lines[lines.len() - 1]], "{table}");
}

#[cfg(feature = "parquet")]
mod read_back {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    /// The rows of a Parquet file, each cell as its text; `None` is null.
    fn rows(report: &Report, total: bool) -> Vec<BTreeMap<String, Option<String>>> {
        let mut out = Vec::new();
        report
            .write(&Rendering { format: Format::Parquet, total, ..Rendering::default() }, &mut out)
            .unwrap();
        let reader = SerializedFileReader::new(Bytes::from(out)).unwrap();
        let text = |field: &Field| match field {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            Field::Decimal(decimal) => {
                let bytes = <[u8; 16]>::try_from(decimal.data()).unwrap();
                assert_eq!((decimal.precision(), decimal.scale()), (38, 18));
                Some(i128::from_be_bytes(bytes).to_string())
            }
            other => Some(other.to_string()),
        };
        let row = |row: parquet::record::Row| {
            row.get_column_iter().map(|(name, field)| (name.clone(), text(field))).collect()
        };
        reader.get_row_iter(None).unwrap().map(Result::unwrap).map(row).collect()
    }

    fn cell<'a>(row: &'a BTreeMap<String, Option<String>>, column: &str) -> Option<&'a str> {
        row[column].as_deref()
    }

    #[test]
    fn parquet_has_decimals_names_as_they_are_and_null_for_what_is_not_known() {
        let mut report = priced();
        report.lines[0].keys = vec![name("=total"), KeyValue::Missing(MissingKey::Model)];
        let found = rows(&report, false);
        assert_eq!(found.len(), 2);
        let all = |row: usize| {
            ["caller", "model", "missing", "input", "cost", "currency"].map(|c| cell(&found[row], c))
        };
        assert_eq!(
            all(0),
            [
                Some("=total"),
                None,
                Some("model: no model"),
                Some("1234567"),
                Some("1500000800000000001"),
                Some("USD")
            ]
        );
        assert_eq!(all(1), [Some("team-b"), Some("m,1"), None, Some("8"), None, Some("USD")]);
        let total = rows(&report, true).pop().unwrap();
        let all = ["caller", "missing", "calls", "unpriced_calls"].map(|column| cell(&total, column));
        assert_eq!(all, [None, Some("total"), Some("23"), Some("22")]);
    }

    #[test]
    fn a_number_that_does_not_fit_is_an_error() {
        let mut report = report();
        report.total = ReportSums::of([("input", u64::MAX)]);
        let rendering = Rendering { format: Format::Parquet, ..Rendering::default() };
        let said = report.write(&rendering, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(said, "input 18446744073709551615: Parquet holds 2^63 - 1");
    }

    proptest! {
        #[test]
        fn any_names_and_amounts_come_back(
            keys in prop::collection::vec((hostile(), any::<u64>(), prop::option::of(0..10_u128.pow(30))), 0..20),
        ) {
            let mut report = report();
            report.currency = Some("EUR".to_owned());
            report.lines = keys.iter().map(|(key, calls, cost)| {
                let mut sums = ReportSums::of([("calls", calls >> 1), ("images", calls >> 2)]);
                cost.iter().for_each(|cost| sums.charge(of_first(*cost)));
                line(&[name(key), KeyValue::Missing(MissingKey::Model)], sums)
            }).collect();
            let found = rows(&report, false);
            prop_assert_eq!(found.len(), keys.len());
            for (row, (key, calls, cost)) in found.iter().zip(&keys) {
                prop_assert_eq!(cell(row, "caller"), Some(key.as_str()));
                let (half, quarter) = ((calls >> 1).to_string(), (calls >> 2).to_string());
                prop_assert_eq!(cell(row, "calls"), Some(half.as_str()));
                prop_assert_eq!(cell(row, "images"), Some(quarter.as_str()));
                let none_of_nothing = (calls >> 1 == 0).then_some(0);
                prop_assert_eq!(cell(row, "cost").map(str::to_owned), cost.or(none_of_nothing).map(|cost| cost.to_string()));
            }
        }
    }
}

/// Texts that are hard to show.
fn hostile() -> impl Strategy<Value = String> {
    let hard = "=+-@＝＋－＠'\"\\u{}09af,;| \t\r\n\0\u{1b}\u{7f}\u{9b}\u{ad}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{3164}totalTOTAL(é";
    let hard = prop::sample::select(hard.chars().collect::<Vec<_>>());
    let text = prop::collection::vec(prop_oneof![3 => hard, 1 => any::<char>()], 1..12)
        .prop_map(|characters| characters.into_iter().collect());
    let labels = ["total", "(no model)", "(unattributed)", "'(no tier)", "'total"].map(str::to_owned);
    prop_oneof![9 => text, 1 => prop::sample::select(labels.to_vec())]
}

proptest! {
    /// For any names, a reader of CSV finds as many rows and cells as there are, in which nothing is
    /// hidden, nothing is a formula, and nothing is a label; a table has as many lines; JSON has the names themselves.
    #[test]
    fn any_names_stay_in_their_cells(
        keys in prop::collection::vec((hostile(), hostile()), 0..6)
    ) {
        let report = of(&keys);
        let csv = text(&report, Format::Csv);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let columns = reader.headers().unwrap().len();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        prop_assert_eq!(rows.len(), keys.len());
        for cell in rows.iter().flat_map(csv::StringRecord::iter) {
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']), "{:?}", cell);
            prop_assert_eq!(names::shown_lines(cell).replace("\\u{5c}", "\\"), cell);
        }
        prop_assert!(rows.iter().all(|row| row.len() == columns));
        for label in ["total", "total (incomplete)", "(no model)", "(unattributed)"] {
            prop_assert!(rows.iter().all(|row| &row[0] != label && &row[1] != label));
        }
        for (row, other) in rows.iter().zip(rows.iter().skip(1)) {
            let at = |row: &csv::StringRecord| rows.iter().position(|other| other == row).unwrap();
            prop_assert_eq!(keys[at(row)] == keys[at(other)], row == other, "two names never become the same");
        }
        let table = text(&report, Format::Table);
        let lines = if keys.is_empty() { 3 } else { keys.len() + 4 };
        prop_assert_eq!(table.lines().count(), lines, "{}", table);
        prop_assert!(table.chars().all(|c| c == '\n' || !names::shown(&format!("a{c}")).contains("u{")), "{}", table);
        let json: Value = serde_json::from_str(&text(&report, Format::Json)).unwrap();
        for (line, (a, b)) in json["lines"].as_array().unwrap().iter().zip(&keys) {
            prop_assert_eq!((line["caller"].as_str(), line["model"].as_str()), (Some(&**a), Some(&**b)));
        }
    }
}
