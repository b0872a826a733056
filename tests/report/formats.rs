//! Reports as others read them: the page in a browser, Parquet in DuckDB.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokenweir::report::{
    CostFiles, Format, GroupBy, Input, Prices, Rendering, Report, ReportOptions, report,
};

use crate::skip;
use crate::support::packages::{Packages, run};
use crate::truth::file_of;

/// Five views of one page on a loaded machine.
const LOOK_MAX: Duration = Duration::from_secs(240);

/// What names may try in a page, a cell, or a line.
const HOSTILE: [&str; 7] = [
    "claims-desk",
    "<script>window.pwned = 1</script>",
    "\"><img src=x onerror=\"window.pwned = 1\">",
    "</style></svg><b>",
    "=HYPERLINK(\"http://e\")",
    "\u{202e}gnp.exe",
    "a name that is so long that it does not fit a telephone's width and has-no-place-to-break-it-at-all-0123456789",
];

/// Events of callers that are hostile, over a month; each has one more call than the one before.
fn events() -> Vec<String> {
    let mut events = Vec::new();
    for (at, caller) in HOSTILE.iter().enumerate() {
        for call in 0..=at {
            let number = events.len() as u64;
            let quality = ["exact", "lower_bound", "estimated"][call % 3];
            let department = (at > 0).then_some(["Claims & Risk", "<i>IT</i>"][at % 2]);
            let event = json!({
                "specversion": "1.0", "id": uuid::Uuid::from_u128(u128::from(number)).to_string(),
                "source": "//tokenweir/x", "type": "dev.tokenweir.usage.v1",
                "time": format!("2026-11-{:02}T12:00:00Z", 1 + number % 30),
                "subject": caller, "partitionkey": caller, "datacontenttype": "application/json",
                "data": {
                    "caller": {"id": caller, "department": department},
                    "target": {"deployment": "d", "model": format!("m{}", call % 2)},
                    "tokens": {"input": 1_000 + number, "output": (call > 0).then_some(500)},
                    "accounting": {"input_quality": "exact", "output_quality": if call > 0 { quality } else { "unknown" }},
                    "stream": {"outcome": "complete"}, "reporter": {"instance": "b", "version": "1"}
                }
            });
            events.push(event.to_string());
        }
    }
    events
}

fn made(format: Format) -> Report {
    let (file, folder) = (file_of(&events()), tempfile::tempdir().unwrap());
    let prices = folder.path().join("prices.csv");
    std::fs::write(
        &prices,
        "model,input,output,per_tokens,currency\nm0,2.5,10,1000,EUR\nm1,0.0000000007,10,1000,EUR\n",
    )
    .unwrap();
    let by = GroupBy::list("caller,department").unwrap();
    let options = ReportOptions {
        views: format.views(),
        cost: CostFiles { prices: Some(Prices::read(&[prices]).unwrap()), ..CostFiles::default() },
        ..ReportOptions::of(Input::Files(file.path().to_owned()), by)
    };
    report(&options).unwrap()
}

fn write(report: &Report, format: Format, path: &Path) {
    let mut out = std::fs::File::create(path).unwrap();
    report.write(&Rendering { format, ..Rendering::default() }, &mut out).unwrap();
}

/// Runs a script on a few files and returns the objects that it prints, one a line.
fn told(command: &mut Command, folder: &Path) -> Vec<Value> {
    let mut owned = Command::new(command.get_program());
    owned.args(command.get_args()).current_dir(folder);
    let output = run(owned, LOOK_MAX).expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn a_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("statement");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_page_is_whole_for_everybody_and_runs_nothing() {
    let chromium = Packages {
        sources: "tests/report/page",
        folder: "report-page",
        scripts: vec!["look.mjs"],
        pins: &["package.json", "package-lock.json"],
        install: &[&["npm", "ci", "--no-audit", "--no-fund"]],
    };
    let Some(installed) = chromium.installed() else {
        return skip::test("the page was not looked at: Chromium and axe-core could not be installed by npm");
    };
    let folder = a_folder();
    let page = folder.join("page.html");
    write(&made(Format::Html), Format::Html, &page);
    let views = told(Command::new("node").arg("look.mjs").args([&page, &folder]), &installed);
    assert_eq!(views.len(), 5);
    for view in &views[..4] {
        assert_eq!((&view["violations"], &view["said"]), (&json!([]), &json!([])), "{view}");
        assert!(view["passes"].as_u64() > Some(20), "axe-core looked: {view}");
        assert_eq!(view["asked"], 1, "nothing is fetched: {view}");
        assert_eq!(view["wide"], view["width"], "nothing but a table is wider than the window: {view}");
        assert_eq!((&view["scripts"], &view["styled"]), (&Value::Null, &json!("flex")), "{view}");
        let bars: Vec<f64> =
            view["bars"].as_array().unwrap().iter().map(|bar| bar.as_f64().unwrap()).collect();
        assert!(bars.len() == 28 && bars.iter().all(|height| *height > 0.0), "{view}");
    }
    assert_ne!(views[0]["paper"], views[1]["paper"], "dark is dark");
    assert!(views[4]["bytes"].as_u64() > Some(10_000), "{views:?}");
}

/// Whoever sees the page alone learns what its numbers do not have.
#[test]
fn the_page_says_what_was_left_out_and_what_is_not_there() {
    let page = |lines: &[String]| {
        let file = file_of(lines);
        let options = ReportOptions {
            views: Format::Html.views(),
            ..ReportOptions::of(Input::Files(file.path().to_owned()), GroupBy::list("caller").unwrap())
        };
        let report = report(&options).unwrap();
        let mut page = Vec::new();
        report.write(&Rendering { format: Format::Html, ..Rendering::default() }, &mut page).unwrap();
        (String::from_utf8(page).unwrap(), report)
    };
    let numbered = |number: u64, line: &String| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event["sequence"] = format!("{number:020}").into();
        event.to_string()
    };
    let whole: Vec<String> = (1..).zip(&events()[..9]).map(|(number, line)| numbered(number, line)).collect();
    let (good, report) = page(&whole);
    assert!(report.is_complete(), "{:?}", report.completeness);
    for said in
        ["<dt>Complete</dt><dd>yes</dd>", "<strong>Complete: </strong>", "<strong>No proof: </strong>"]
    {
        assert!(good.contains(said), "{said} {good}");
    }
    let mut holed = whole;
    holed[4] = "no event".to_owned();
    let (bad, report) = page(&holed);
    for said in ["<dt>Complete</dt><dd>no</dd>", "<strong>Not complete: </strong>"] {
        assert!(bad.contains(said), "{said} {bad}");
    }
    let texts: Vec<String> = report.completeness.texts("--format json names them").collect();
    let [left_out, lack] = &texts[..] else { panic!("{texts:?}") };
    assert!(
        left_out.contains("left out: 1 (not JSON)") && lack.contains("sequence 5 is not here"),
        "{texts:?}"
    );
    assert!(texts.iter().all(|text| bad.contains(text.as_str())), "{texts:?} {bad}");
}

#[test]
fn duckdb_reads_parquet_as_it_was_meant() {
    let duckdb = Packages {
        sources: "tests/report/page",
        folder: "report-duckdb",
        scripts: vec!["read_parquet.py"],
        pins: &["requirements.txt"],
        install: &[
            &["python3", "-m", "venv", "."],
            &["./bin/python", "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
        ],
    };
    let Some(installed) = duckdb.installed() else {
        return skip::test("Parquet was read by our own crate alone: DuckDB could not be installed by pip");
    };
    let (folder, report) = (tempfile::tempdir().unwrap(), made(Format::Parquet));
    let (parquet, csv) = (folder.path().join("report.parquet"), folder.path().join("report.csv"));
    write(&report, Format::Parquet, &parquet);
    write(&report, Format::Csv, &csv);
    let python = installed.join("bin/python");
    let told = told(Command::new(python).arg("read_parquet.py").args([&parquet, &csv]), &installed).remove(0);
    let types =
        ["caller", "calls", "cost", "unpriced_calls"].map(|column| told["types"][column].as_str().unwrap());
    assert_eq!(types, ["VARCHAR", "BIGINT", "DECIMAL(38,18)", "BIGINT"]);
    assert_eq!(told["parquet"], told["csv"]);
    let calls: usize = (1..=HOSTILE.len()).sum();
    assert_eq!((&told["parquet"][0], &told["parquet"][1]), (&json!(7), &json!(calls.to_string())));
    let cost = report.total.cost().unwrap().to_string();
    assert_eq!(told["parquet"][3].as_str().unwrap().trim_end_matches('0'), cost.trim_end_matches('0'));
    assert_eq!(told["callers"], json!(HOSTILE));
    assert_eq!(told["missing"], json!([null, "department: not in the map"]));
}
