//! Recorded exchanges with the service's own bill, read where they are: `TOKENWEIR_SHARED`, else
//! `../shared` beside the crate.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use metering::account::{Options, run};
use serde_json::{Value, json};

/// The recordings, one exchange a line; `None`, noted for the test that asks, if there are none.
#[track_caller]
pub(crate) fn recordings() -> Option<&'static [String]> {
    static LINES: OnceLock<Option<Vec<String>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| lines_of("dev"));
    if lines.is_none() {
        super::skip::no_recordings();
    }
    lines.as_deref()
}

/// The lines of one set of recordings, if it is there.
fn lines_of(set: &str) -> Option<Vec<String>> {
    let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let file = shared.join(format!("recorded/{set}.jsonl.xz"));
    if !file.exists() {
        return None;
    }
    let script = "import lzma,sys,shutil;shutil.copyfileobj(lzma.open(sys.argv[1]),sys.stdout.buffer)";
    let xz = Command::new("xz").arg("-dc").arg(&file).output();
    let output = xz.or_else(|_| Command::new("python3").args(["-c", script]).arg(&file).output());
    let output = output.expect("xz or python3 unpacks the recordings");
    assert!(output.status.success(), "the recordings cannot be unpacked");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Those of both sets, parsed.
pub(crate) fn both() -> Option<Vec<Value>> {
    let mut cases = cases()?;
    cases.extend(cases_of("dev2").unwrap_or_default());
    Some(cases)
}

/// The exchanges of one set, parsed; `None` if it is not there.
pub(crate) fn cases_of(set: &str) -> Option<Vec<Value>> {
    Some(lines_of(set)?.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The same, parsed.
#[track_caller]
pub(crate) fn cases() -> Option<Vec<Value>> {
    Some(recordings()?.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What `tokenweir account` says of these lines.
pub(crate) fn account<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
    let input: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
    let mut output = Vec::new();
    run(input.as_bytes(), &mut output, &Options::default()).unwrap();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What it says of each case, in order.
pub(crate) fn account_cases(cases: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    account(lines.iter().map(String::as_str))
}

/// The JSON documents of an answer: one, or those of its events.
pub(crate) fn documents(case: &Value) -> Vec<Value> {
    let body = case["response_body"].as_str().unwrap();
    if case["response_kind"] == "json" {
        return vec![serde_json::from_str(body).unwrap()];
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The list under a key; empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What Python calls true.
pub(crate) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
        && value != ""
        && *value != json!([])
        && *value != json!({})
}
