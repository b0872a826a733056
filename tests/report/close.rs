//! The close of a month: its bytes, its sums, what comes later, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::Value;
use tokenweir::report::{
    Calendar, CloseMonth, CloseOptions, CloseOutcome, CloseResult, CostFiles, FocusOptions, Input, Prices,
    PtuCosts, ReportError, ReportOptions, VerifyOptions, close,
};

use crate::prices::made_with;

/// Whether a column holds a number that adds up.
type IsSum = fn(&str) -> bool;

const MONTH: &str = "2026-09";

/// A program that is waited for has failed if it takes so long.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What was written, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Events of two months without bad lines; `None`: what makes them is not here.
fn made(events: &str) -> Option<tempfile::TempDir> {
    made_with(&["--events", events, "--bad-lines", "0", "--callers", "24"])
}

fn cost(folder: &Path) -> CostFiles {
    CostFiles {
        prices: Some(Prices::read(&[folder.join("prices-full.csv")]).unwrap()),
        ptu: Some(PtuCosts::read(&folder.join("ptu.csv")).unwrap()),
        rates: None,
    }
}

fn options(inputs: Vec<PathBuf>, cost: CostFiles, out: &Path) -> CloseOptions {
    let calendar = Calendar::default();
    CloseOptions {
        month: CloseMonth::of(MONTH, &calendar).unwrap(),
        usage: ReportOptions {
            inputs: inputs.into_iter().map(Input::Files).collect(),
            calendar,
            cost,
            ..ReportOptions::default()
        },
        proof: VerifyOptions::new(Vec::new()),
        focus: FocusOptions::default(),
        out: out.to_owned(),
        allow_incomplete: false,
    }
}

fn closed(options: &CloseOptions) -> CloseResult {
    close(options).unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// A decimal number in 10^-30.
fn number(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.is_empty() { 0 } else { sign * format!("{whole}{places:0<30}").parse::<i128>().unwrap() }
}

/// The sum of each column that is added up, by the row's other cells.
fn sums(csv: &[u8], is_sum: impl Fn(&str) -> bool, into: &mut BTreeMap<Vec<String>, Vec<i128>>) {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers().unwrap().clone();
    for record in reader.records() {
        let record = record.unwrap();
        let cells = || header.iter().zip(&record);
        let keys = cells().filter(|(name, _)| !is_sum(name) && *name != "ChargeClass");
        let keys = keys.map(|(_, cell)| cell.to_owned()).collect();
        let row: Vec<i128> = cells().filter(|(name, _)| is_sum(name)).map(|(_, cell)| number(cell)).collect();
        let sum = into.entry(keys).or_insert_with(|| vec![0; row.len()]);
        sum.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
    }
}

fn is_usage_sum(name: &str) -> bool {
    !["department", "cost_center", "caller", "deployment", "model", "tier", "day", "currency"].contains(&name)
}

fn is_focus_sum(name: &str) -> bool {
    [
        "BilledCost",
        "ConsumedQuantity",
        "ContractedCost",
        "EffectiveCost",
        "ListCost",
        "PricingQuantity",
        "x_Requests",
        "x_TokensEstimated",
        "x_TokensExact",
        "x_TokensLowerBound",
    ]
    .contains(&name)
}

/// The sums of a table over a close and its adjustments, without rows in which nothing is.
fn whole(files: &Files, name: &str, is_sum: fn(&str) -> bool) -> BTreeMap<Vec<String>, Vec<i128>> {
    let mut found = BTreeMap::new();
    let is_one = |file: &str| {
        file == name
            || file.starts_with("adjustment-")
                && file.ends_with(&format!("/{name}"))
                && file.matches('/').count() == 1
    };
    for (_, content) in files.iter().filter(|(file, _)| is_one(file)) {
        sums(content, is_sum, &mut found);
    }
    found.retain(|_, sums| sums.iter().any(|sum| *sum != 0));
    found
}

#[test]
fn a_close_adds_up_to_the_cent_and_its_manifest_proves_every_file() {
    let Some(folder) = made("6000") else { return };
    let (folder, out) = (folder.path(), tempfile::tempdir().unwrap());
    let target = out.path().join("september");
    let result = closed(&options(vec![folder.join("events.jsonl")], cost(folder), &target));
    assert_eq!((result.outcome, result.is_complete), (CloseOutcome::Closed, true), "{}", result.proof);
    let files = files(&target);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let listed = manifest["files"].as_array().unwrap();
    assert_eq!(listed.len() + 1, files.len());
    for file in listed {
        let content = &files[file["name"].as_str().unwrap()];
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (file["sha256"].as_str().unwrap(), file["bytes"].as_u64().unwrap()),
            (hex.as_str(), content.len() as u64)
        );
    }
    assert!(manifest["complete"] == true && manifest["proof"]["complete"] == true);
    assert!(
        manifest["proof"]["boots"]
            .as_array()
            .unwrap()
            .iter()
            .any(|boot| boot["last_sequence"].as_u64() > Some(1))
    );
    for (name, page) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        let page = String::from_utf8_lossy(page);
        let says = ["<dt>Complete</dt><dd>yes</dd>", "<strong>Proof: </strong>", result.proof.as_str()];
        assert!(says.iter().all(|text| page.contains(text)), "{name}: {page}");
    }
    // The amounts are whole cents, and add up to the rounded total.
    let column = |name: &str| -> Vec<i128> {
        let mut reader = csv::Reader::from_reader(files["departments.csv"].as_slice());
        let place = reader.headers().unwrap().iter().position(|column| column == name).unwrap();
        reader.records().map(|record| number(&record.unwrap()[place])).collect()
    };
    let (cent, costs, amounts) = (10_i128.pow(28), column("cost"), column("amount"));
    assert!(amounts.len() > 5 && amounts.iter().all(|amount| amount % cent == 0));
    let total: i128 = costs.iter().sum();
    assert_eq!(amounts.iter().sum::<i128>(), (total + cent / 2) / cent * cent);
    // Statements, lines and charges are the same money and the same tokens.
    let mut of_statements = BTreeMap::new();
    files
        .iter()
        .filter(|(name, _)| name.starts_with("statements/") && name.ends_with(".csv"))
        .for_each(|(_, content)| sums(content, is_usage_sum, &mut of_statements));
    assert_eq!(of_statements.len(), whole(&files, "usage.csv", is_usage_sum).len());
    let mut charged = 0;
    for sums in whole(&files, "focus.csv", is_focus_sum).values() {
        charged += sums[3];
    }
    assert_eq!(charged, total);
    for ending in ["csv", "parquet", "html"] {
        let of_kind = files.keys().filter(|name| name.starts_with("statements/") && name.ends_with(ending));
        assert_eq!(of_kind.count(), amounts.len());
    }
}

/// The payer's share in a fixed cost is the same in statements and in charges, department by department.
#[test]
fn departments_cost_the_same_in_statements_and_in_charges() {
    let Some(folder) = made("6000") else { return };
    let (folder, out) = (folder.path(), tempfile::tempdir().unwrap());
    let target = out.path().join("september");
    closed(&options(vec![folder.join("events.jsonl")], cost(folder), &target));
    let files = files(&target);
    let by = |name: &str, of: &dyn Fn(&csv::StringRecord, &csv::StringRecord) -> (String, i128)| {
        let mut reader = csv::Reader::from_reader(files[name].as_slice());
        let header = reader.headers().unwrap().clone();
        let mut found: BTreeMap<String, i128> = BTreeMap::new();
        for record in reader.records() {
            let (department, cost) = of(&header, &record.unwrap());
            *found.entry(department).or_default() += cost;
        }
        found
    };
    let cell = |header: &csv::StringRecord, record: &csv::StringRecord, name: &str| {
        record[header.iter().position(|column| column == name).unwrap()].to_owned()
    };
    let none = |name: String| if name.starts_with('(') { String::new() } else { name };
    let statements = by("usage.csv", &|h, r| (none(cell(h, r, "department")), number(&cell(h, r, "cost"))));
    let charges = by("focus.csv", &|h, r| {
        let tags: Value = serde_json::from_str(&cell(h, r, "Tags")).unwrap_or_default();
        (tags["department"].as_str().unwrap_or_default().to_owned(), number(&cell(h, r, "EffectiveCost")))
    });
    assert_eq!(statements, charges);
}

#[test]
fn the_same_events_give_the_same_bytes() {
    let Some(folder) = made("3000") else { return };
    let (folder, out) = (folder.path(), tempfile::tempdir().unwrap());
    let text = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let first = out.path().join("first");
    closed(&options(vec![folder.join("events.jsonl")], cost(folder), &first));
    // Backwards, every fifth once more, in three files of which one is compressed.
    let mut lines: Vec<&str> = text.lines().rev().collect();
    lines.extend(text.lines().step_by(5));
    let other = out.path().join("elsewhere");
    fs::create_dir(&other).unwrap();
    for (at, lines) in lines.chunks(lines.len() / 3 + 1).enumerate() {
        let content = lines.join("\n");
        if at == 1 {
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(content.as_bytes()).unwrap();
            fs::write(other.join("b.jsonl.gz"), gz.finish().unwrap()).unwrap();
        } else {
            fs::write(other.join(format!("{at}.jsonl")), content).unwrap();
        }
    }
    let second = out.path().join("second");
    let result = closed(&options(vec![other], cost(folder), &second));
    assert!(result.is_complete, "{}", result.proof);
    let (first, second) = (files(&first), files(&second));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, content) in &first {
        assert_eq!(String::from_utf8_lossy(content), String::from_utf8_lossy(&second[name]), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    /// Whatever comes late, a close and its adjustments add up to the truth, row by row, and the close stays as it was.
    #[test]
    fn a_close_and_its_adjustments_add_up_to_the_truth(late in prop::collection::vec(0..4_u8, 400)) {
        let Some(folder) = made("400") else { return Ok(()) };
        let (folder, out) = (folder.path(), tempfile::tempdir().unwrap());
        let text = fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let parts = |stage: u8| {
            let shown = text.lines().zip(late.iter().cycle()).filter(|(_, late)| **late <= stage + 1);
            shown.flat_map(|(line, _)| [line, "\n"]).collect::<String>()
        };
        let input = out.path().join("events.jsonl");
        let close_to = |target: &Path, text: &str| {
            fs::write(&input, text).unwrap();
            closed(&CloseOptions { allow_incomplete: true, ..options(vec![input.clone()], cost(folder), target) })
        };
        let (target, at_once) = (out.path().join("month"), out.path().join("at-once"));
        close_to(&target, &parts(0));
        let first = files(&target);
        for stage in [1, 2] {
            let result = close_to(&target, &parts(stage));
            prop_assert!(matches!(result.outcome, CloseOutcome::Adjusted(_) | CloseOutcome::Unchanged));
        }
        prop_assert_eq!(close_to(&target, &text).outcome, CloseOutcome::Unchanged);
        close_to(&at_once, &text);
        let (adjusted, truth) = (files(&target), files(&at_once));
        let tables: [(&str, IsSum); 3] =
            [("usage.csv", is_usage_sum), ("departments.csv", is_usage_sum), ("focus.csv", is_focus_sum)];
        for (name, is_sum) in tables {
            prop_assert_eq!(whole(&adjusted, name, is_sum), whole(&truth, name, is_sum), "{}", name);
        }
        for (name, content) in &first {
            prop_assert_eq!(&adjusted[name], content);
        }
        for (name, content) in adjusted.iter().filter(|(name, _)| name.starts_with("adj") && name.ends_with("/focus.csv")) {
            let mut reader = csv::Reader::from_reader(content.as_slice());
            let place = reader.headers().unwrap().iter().position(|column| column == "ChargeClass").unwrap();
            let is_marked = reader.records().all(|record| &record.unwrap()[place] == "Correction");
            prop_assert!(is_marked, "{}", name);
        }
    }
}

/// Calls without numbers of their own, one for each department.
fn calls(departments: &[&str]) -> String {
    let call = |(at, department): (usize, &&str)| {
        serde_json::json!({
            "specversion": "1.0", "id": uuid::Uuid::from_u128(at as u128 + 1).to_string(), "source": "//tokenweir/x",
            "type": "dev.tokenweir.usage.v1", "time": "2026-09-10T12:00:00Z", "subject": "a", "partitionkey": "a",
            "data": {
                "caller": {"id": format!("caller-{at}"), "department": department}, "target": {"deployment": "d", "model": "m"},
                "tokens": {"input": 1_000_000, "output": 0},
                "accounting": {"input_quality": "exact", "output_quality": "exact"},
                "stream": {"outcome": "complete"}, "reporter": {"instance": "b", "version": "1"}
            }
        }).to_string() + "\n"
    };
    departments.iter().enumerate().map(call).collect()
}

/// A folder with such calls, and a price for them.
fn of_departments(departments: &[&str]) -> (tempfile::TempDir, CloseOptions) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.jsonl"), calls(departments)).unwrap();
    let prices = folder.path().join("prices.csv");
    fs::write(&prices, "model,input,output,currency\nm,0.333,1,EUR\n").unwrap();
    let cost = CostFiles { prices: Some(Prices::read(&[prices]).unwrap()), ..CostFiles::default() };
    let (events, out) = (folder.path().join("events.jsonl"), folder.path().join("out/month"));
    (folder, options(vec![events], cost, &out))
}

#[test]
fn a_month_that_is_not_complete_is_refused_and_nothing_is_written() {
    let (folder, options) = of_departments(&["a", "b"]);
    fs::OpenOptions::new()
        .append(true)
        .open(folder.path().join("events.jsonl"))
        .unwrap()
        .write_all(b"no event\n")
        .unwrap();
    let result = closed(&options);
    assert_eq!((result.outcome, result.is_complete), (CloseOutcome::Refused, false));
    assert!(!folder.path().join("out").exists());
    let result = closed(&CloseOptions { allow_incomplete: true, ..options.clone() });
    assert_eq!((result.outcome, result.is_complete), (CloseOutcome::Closed, false));
    let files = files(&options.out);
    let pages: Vec<String> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".html"))
        .map(|(_, page)| String::from_utf8(page.clone()).unwrap())
        .collect();
    assert_eq!(pages.len(), 2);
    assert!(
        pages.iter().all(|page| page.contains("was closed although it is not complete")
            && page.contains("left out: 1 line or message (not json)")
            && page.contains("<dt>Complete</dt><dd>no</dd>")
            && !page.contains("events.jsonl")),
        "{}",
        pages[0]
    );
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!((&manifest["complete"], &manifest["left_out"]["not_json"]), (&false.into(), &1.into()));
}

#[test]
fn what_was_closed_is_never_changed_and_never_mistaken() {
    let (folder, options) = of_departments(&["a", "b", "c"]);
    let options = CloseOptions { allow_incomplete: true, ..options };
    closed(&options);
    let before = files(&options.out);
    assert_eq!(closed(&options).outcome, CloseOutcome::Unchanged);
    let other_month = CloseMonth::of("2026-10", &Calendar::default()).unwrap();
    let refused = |options: &CloseOptions| close(options).unwrap_err().to_string();
    let said = refused(&CloseOptions { month: other_month, ..options.clone() });
    assert!(said.contains("a close whose month is \"2026-09\""), "{said}");
    let said = refused(&CloseOptions { out: folder.path().to_owned(), ..options.clone() });
    assert!(said.contains("is no close"), "{said}");
    assert_eq!(files(&options.out), before);
    let usage = options.out.join("usage.csv");
    let text = fs::read_to_string(&usage).unwrap();
    fs::write(&usage, text.replace("caller-0", "caller-9")).unwrap();
    let said = refused(&options);
    assert!(said.contains("usage.csv: it is not as it was written"), "{said}");
    let input = vec![Input::Files("-".into())];
    let once = CloseOptions { usage: ReportOptions { inputs: input, ..options.usage.clone() }, ..options };
    assert!(matches!(close(&once), Err(ReportError::InputOnce)));
}

/// The folder beside `target`, or in it, that is still written.
fn unfinished(parent: &Path, target: &str) -> Option<PathBuf> {
    let start = format!(".{target}.");
    let mut found = fs::read_dir(parent).into_iter().flatten().map(|entry| entry.unwrap());
    found.find(|entry| entry.file_name().to_string_lossy().starts_with(&start)).map(|entry| entry.path())
}

/// A close that was stopped in the midst of writing keeps its folder as long as it lives; once it was killed, the next
/// close removes what it left.
#[test]
fn what_a_killed_close_left_goes_and_what_a_living_one_writes_stays() {
    let departments: Vec<String> = (0..400).map(|number| format!("department {number}")).collect();
    let names: Vec<&str> = departments.iter().map(String::as_str).collect();
    let (folder, options) = of_departments(&names);
    let options = CloseOptions { allow_incomplete: true, ..options };
    let out = folder.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenweir"));
    command.args(["close", "--month", MONTH, "--allow-incomplete", "--out"]).arg(&options.out);
    command.arg("--prices").arg(folder.path().join("prices.csv")).arg(folder.path().join("events.jsonl"));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&process);
    let begun = Instant::now();
    let left = loop {
        if let Some(left) = unfinished(&out, "month").filter(|left| left.join("statements").exists()) {
            break left;
        }
        assert!(process.try_wait().unwrap().is_none() && begun.elapsed() < WAIT_MAX, "it never wrote");
        std::thread::sleep(Duration::from_millis(1));
    };
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let meanwhile = CloseOptions { out: out.join("other"), ..options.clone() };
    assert_eq!(closed(&meanwhile).outcome, CloseOutcome::Closed);
    assert_eq!(closed(&options).outcome, CloseOutcome::Closed);
    assert!(left.join("statements").exists(), "it may still be written");
    process.kill().unwrap();
    process.wait().unwrap();
    let before = files(&options.out);
    assert_eq!(closed(&meanwhile).outcome, CloseOutcome::Unchanged);
    assert!(left.exists(), "it is none of this close");
    assert_eq!(closed(&options).outcome, CloseOutcome::Unchanged);
    assert_eq!((left.exists(), unfinished(&out, "month")), (false, None));
    assert_eq!(files(&options.out), before);
}

#[test]
fn departments_with_hostile_names_have_files_of_their_own_and_none_elsewhere() {
    let hostile = [
        "../../etc/x",
        "a\u{0}b",
        "CON",
        "con",
        "Claims",
        "claims",
        "C:\\nul",
        "部門",
        "<script>alert(1)</script>",
        "=1+1",
        "(unattributed)",
        "x\u{202e}y",
        " ",
    ];
    let (folder, options) = of_departments(&hostile);
    let options = CloseOptions { allow_incomplete: true, ..options };
    closed(&options);
    let files = files(folder.path());
    let statements: BTreeSet<String> = files
        .keys()
        .filter_map(|name| name.strip_prefix("out/month/statements/"))
        .map(str::to_lowercase)
        .collect();
    assert_eq!(statements.len(), hostile.len() * 3);
    assert!(
        statements
            .iter()
            .all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
                && name.matches('.').count() == 1)
    );
    assert_eq!(files.len(), 2 + 4 + hostile.len() * 3, "{:?}", files.keys());
    for (name, page) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        assert!(!String::from_utf8_lossy(page).contains("<script"), "{name}");
    }
    // Thirteen times a third of a cent less: no statement is off by a cent, and together they are right.
    let mut reader = csv::Reader::from_path(options.out.join("departments.csv")).unwrap();
    let place = reader.headers().unwrap().iter().position(|column| column == "amount").unwrap();
    let amounts: Vec<String> = reader.records().map(|record| record.unwrap()[place].to_owned()).collect();
    assert!(amounts.iter().all(|amount| amount == "0.33" || amount == "0.34"));
    assert_eq!(amounts.iter().map(|amount| number(amount)).sum::<i128>(), number("4.33"));
}
