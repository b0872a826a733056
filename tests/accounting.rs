//! The accounting against recorded exchanges, whose `usage` is the service's own bill.
//!
//! The recordings are read where they are: `TOKENWEIR_SHARED`, else `../shared` beside the crate.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used)] // helpers of a test may stop it and speak

#[path = "accounting/tee.rs"]
mod tee;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use tokenweir::account::{Options, run};
use tokenweir::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
use tokenweir::usage::{Accounting, Stream, Target, Tokens, Usage};

/// The recordings, one exchange a line; `None`, said aloud, if there are none.
fn recordings() -> Option<&'static [String]> {
    static LINES: OnceLock<Option<Vec<String>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
        let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
        let file = shared.join("recorded/dev.jsonl.xz");
        if !file.exists() {
            return None;
        }
        let script = "import lzma,sys,shutil;shutil.copyfileobj(lzma.open(sys.argv[1]),sys.stdout.buffer)";
        let xz = Command::new("xz").arg("-dc").arg(&file).output();
        let output = xz.or_else(|_| Command::new("python3").args(["-c", script]).arg(&file).output());
        let output = output.expect("xz or python3 unpacks the recordings");
        assert!(output.status.success(), "the recordings cannot be unpacked");
        Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
    });
    if lines.is_none() {
        println!("SKIPPED: recordings absent");
    }
    lines.as_deref()
}

/// Those of the APIs that are computed.
fn computed_recordings() -> Option<Vec<Value>> {
    let all = recordings()?.iter().map(|line| serde_json::from_str(line).unwrap());
    Some(all.filter(|case: &Value| is_computed(case)).collect())
}

fn is_computed(case: &Value) -> bool {
    case["api"] != "responses"
}

fn account<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
    let input: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
    let mut output = Vec::new();
    run(input.as_bytes(), &mut output, &Options::default()).unwrap();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Accounts for each case, in order.
fn account_cases(cases: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    account(lines.iter().map(String::as_str))
}

fn documents(case: &Value) -> Vec<Value> {
    let body = case["response_body"].as_str().unwrap();
    if case["response_kind"] == "json" {
        return vec![serde_json::from_str(body).unwrap()];
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
        && value != ""
        && *value != json!([])
        && *value != json!({})
}

fn family(model: &str) -> &'static str {
    match model.rsplit('/').next().unwrap() {
        name if name.starts_with("gpt-5") => "gpt-5",
        name if ["o1", "o3", "o4", "codex"].iter().any(|prefix| name.starts_with(prefix)) => "o-series",
        _ => "classic",
    }
}

/// The rows of the accuracy table that a case counts in: of its prompt, and of its completion.
fn rows(case: &Value) -> (Vec<String>, Vec<String>) {
    if is_true(&case["suspect"]) || !is_true(&case["usage"]) {
        return (vec![], vec![]);
    }
    match case["api"].as_str() {
        Some("embeddings") => return (vec!["embeddings".to_owned()], vec![]),
        Some("completions") => return (vec!["legacy prompt".to_owned()], vec!["legacy output".to_owned()]),
        _ => {}
    }
    let request = &case["request"];
    let text = |part: &Value| ["text", "refusal"].iter().any(|kind| part["type"] == *kind);
    let media = list(request, "messages")
        .iter()
        .any(|message| is_true(&message["audio"]) || list(message, "content").iter().any(|part| !text(part)));
    let hosted = request.get("web_search_options").is_some()
        || list(request, "tools").iter().any(|tool| tool["type"] != "function");
    if media || hosted {
        return (vec![], vec![]);
    }
    let family = family(case["model"].as_str().unwrap());
    let azure = is_true(&case["azure"]);
    let mut input = vec![format!("prompt {family}")];
    input.extend(azure.then(|| "prompt azure".to_owned()));
    let documents = documents(case);
    let choices = || documents.iter().flat_map(|document| list(document, "choices"));
    let audio =
        choices().any(|choice| is_true(&choice["message"]["audio"]) || is_true(&choice["delta"]["audio"]));
    if audio || family != "classic" || choices().next().is_none() {
        return (input, vec![]);
    }
    let created = documents.iter().filter_map(|document| document["created"].as_u64()).max().unwrap_or(0);
    // In the first months of 2025 the end of a turn was billed by some clusters only.
    let window = (1_735_689_600..=1_747_699_200).contains(&created);
    let output = match (azure, window) {
        (true, _) => "completion azure",
        (false, true) => return (input, vec![]),
        (false, false) => "completion classic",
    };
    (input, vec![output.to_owned()])
}

/// Hits and cases.
#[derive(Default)]
struct Tally(u64, u64);

impl Tally {
    fn add(&mut self, hit: bool) {
        self.0 += u64::from(hit);
        self.1 += 1;
    }
    fn percent(&self) -> f64 {
        100.0 * self.0 as f64 / self.1 as f64
    }
}

#[test]
fn computed_equals_the_bill() {
    let Some(cases) = computed_recordings() else { return };
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (case, line) in cases.iter().zip(account_cases(&cases)) {
        assert_eq!(case["id"], line["id"]);
        let (input, output) = rows(case);
        for (side, key, rows) in [("input", "prompt_tokens", input), ("output", "completion_tokens", output)]
        {
            let (bill, ours) = (case["usage"][key].as_u64(), line["computed"][side].as_u64());
            let (Some(bill), Some(ours)) = (bill, ours) else { continue };
            for row in rows {
                tallies.entry(row).or_default().add(bill == ours);
            }
            let trusted = !is_true(&case["suspect"]);
            let quality = line[format!("{side}_quality")].as_str().unwrap();
            if trusted && quality == "exact" {
                tallies.entry(format!("{side} labelled exact")).or_default().add(bill == ours);
            }
            assert!(quality != "lower_bound" || ours <= bill, "{}: {ours} is above {bill}", case["id"]);
        }
    }
    for (row, tally) in &tallies {
        println!("{row:26} {:5} of {:5} exact, {:.1} %", tally.0, tally.1, tally.percent());
    }
    for (row, percent) in [
        ("prompt classic", 97.0),
        ("prompt gpt-5", 95.0),
        ("prompt o-series", 90.0),
        ("prompt azure", 92.0),
        ("completion classic", 99.5),
        ("completion azure", 95.0),
        ("embeddings", 100.0),
        ("legacy prompt", 100.0),
        ("legacy output", 100.0),
        ("input labelled exact", 99.0),
        ("output labelled exact", 99.0),
    ] {
        assert!(tallies[row].percent() >= percent, "{row}: {:.2} %", tallies[row].percent());
    }
}

#[test]
fn reported_is_what_the_service_said() {
    let Some(lines) = recordings() else { return };
    for (line, case) in account(lines.iter().map(String::as_str)).iter().zip(lines) {
        let case: Value = serde_json::from_str(case).unwrap();
        let usage = &case["usage"];
        let pick = |a: &str, b: &str| usage.get(a).or(usage.get(b)).cloned().unwrap_or(Value::Null);
        let input = pick("prompt_tokens", "input_tokens");
        if input.as_u64().unwrap_or(0) == 0 {
            continue;
        }
        assert_eq!(line["reported"]["input"], input, "{}", case["id"]);
        assert_eq!(line["reported"]["output"], pick("completion_tokens", "output_tokens"), "{}", case["id"]);
        assert_eq!(line["event"]["data"]["tokens"]["input"], input);
        if !is_computed(&case) {
            assert_eq!(line["computed"]["input"], Value::Null, "a number without a rule");
        }
    }
}

/// The case with each `usage` of its answer replaced; `None` removes it.
fn with_usage(case: &Value, usage: Option<&Value>) -> Value {
    let change = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(mut document)) if document.get("usage").is_some_and(|usage| !usage.is_null()) => {
            match usage {
                Some(usage) => drop(document.insert("usage".to_owned(), usage.clone())),
                None => drop(document.shift_remove("usage")),
            }
            Value::Object(document).to_string()
        }
        _ => text.to_owned(),
    };
    let body = case["response_body"].as_str().unwrap();
    let body = if case["response_kind"] == "json" {
        change(body)
    } else {
        let line = |line: &str| match line.strip_prefix("data:") {
            Some(data) => format!("data: {}\n", change(data.trim())),
            None => format!("{line}\n"),
        };
        body.lines().map(line).collect()
    };
    let mut case = case.clone();
    case["response_body"] = body.into();
    case
}

#[test]
fn nothing_of_usage_is_in_computed() {
    let Some(cases) = computed_recordings() else { return };
    let computed = |cases: &[Value]| -> Vec<String> {
        let keys = ["id", "computed", "input_quality", "output_quality", "reasons"];
        account_cases(cases).iter().map(|line| keys.map(|key| line[key].to_string()).concat()).collect()
    };
    let plain = computed(&cases);
    let lie = json!({"prompt_tokens": 123_456, "completion_tokens": 654_321, "total_tokens": 777_777,
        "completion_tokens_details": {"reasoning_tokens": 99}, "prompt_tokens_details": {"cached_tokens": 1}});
    for usage in [None, Some(&lie), Some(&json!({"prompt_tokens": -1})), Some(&json!("none"))] {
        let changed: Vec<Value> = cases.iter().map(|case| with_usage(case, usage)).collect();
        assert!(plain == computed(&changed), "computed changes with usage {usage:?}");
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// Shows a case to a meter in pieces, as the data path would.
fn in_pieces(case: &Value, draft: Usage, mut piece_bytes: impl FnMut() -> usize) -> Usage {
    let request = Bytes::from(case["request"].to_string());
    let api = draft.target.api;
    let mut meter = Meter::new(draft, Rules { end_of_turn: case["azure"] == true });
    meter = meter.assuming(case["model"].as_str().map(str::to_owned));
    let mut cut = |bytes: &[u8], show: &mut dyn FnMut(&[u8])| {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(piece_bytes().clamp(1, rest.len()));
            show(piece);
            rest = tail;
        }
    };
    cut(&request, &mut |piece| meter.request_bytes(piece));
    meter.request_end();
    let kind = if case["response_kind"] == "sse" { "text/event-stream" } else { "application/json" };
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
    meter.response_head(StatusCode::OK, &headers);
    let mut counted = false;
    let mut count = |meter: &mut Meter| {
        if let (false, PromptNeed::Count { model }) = (counted, meter.prompt_need()) {
            counted = true;
            meter.prompt_counted(count_prompt(api, std::slice::from_ref(&request), &model));
        }
    };
    cut(case["response_body"].as_str().unwrap().as_bytes(), &mut |mut piece| {
        while !piece.is_empty() {
            piece = &piece[meter.response_bytes(piece, 8 << 10)..];
        }
        count(&mut meter);
    });
    meter.end(Ending::Eof);
    count(&mut meter);
    meter.settle(Ending::Eof)
}

/// What was known of a call when it began, from what is known of it at its end.
fn draft_of(event: &Usage) -> Usage {
    Usage {
        target: Target {
            provider: event.target.provider.clone(),
            api: event.target.api,
            operation: event.target.operation.clone(),
            api_version: event.target.api_version.clone(),
            ..Target::default()
        },
        tokens: Tokens::default(),
        accounting: Accounting::default(),
        stream: Stream::default(),
        request: Default::default(),
        ids: Default::default(),
        ..event.clone()
    }
}

#[test]
fn pieces_give_the_same_event() {
    let Some(cases) = computed_recordings() else { return };
    let mut dice = Dice(1);
    for (case, line) in cases.iter().zip(account_cases(&cases)) {
        let event: Usage = serde_json::from_value(line["event"]["data"].clone()).unwrap();
        let draft = draft_of(&event);
        let random = in_pieces(case, draft.clone(), || 1 + dice.below(700));
        assert_eq!(random, event, "{}", case["id"]);
        if case["response_body"].as_str().unwrap().len() <= 8 << 10 {
            assert_eq!(in_pieces(case, draft, || 1), event, "{}", case["id"]);
        }
    }
}

/// An exchange of our own.
fn invented() -> Vec<String> {
    let chunk = |delta: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "c", "model": "gpt-4o", "choices": [{"index": 0, "delta": delta}]})
        )
    };
    let body = [
        chunk(json!({"content": "Good \u{1F600} morning"})),
        chunk(
            json!({"tool_calls": [{"index": 0, "function": {"name": "find", "arguments": "{\"a\": [1, 2.5e3]}"}}]}),
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    let request = json!({"model": "gpt-4o", "stream": true, "n": 1, "stream_options": {"include_usage": true},
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"name": "g", "arguments": "[]"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "{\"x\": 1}"}, {"role": "tool", "tool_call_id": "b", "content": "\u{e9}"}],
        "tools": [{"type": "function", "function": {"name": "find", "description": "Finds", "parameters": {"type": "object",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/A"}}}, "$defs": {"A": {"enum": ["x", null]}}}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "required": []}}}});
    let line = json!({"id": "i", "api": "chat", "azure": true, "model": "gpt-4o", "request": request,
        "response_kind": "sse", "response_body": body.concat()});
    let whole = json!({"id": "w", "api": "chat", "request": {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]},
        "response_kind": "json", "response_body_base64": "eyJ1c2FnZSI6eyJwcm9tcHRfdG9rZW5zIjoxLCJjb21wbGV0aW9uX3Rva2VucyI6Mn19"});
    vec![line.to_string(), whole.to_string()]
}

#[test]
fn mutated_lines_never_crash() {
    let (invented, mut dice) = (invented(), Dice(2));
    assert!(account(invented.iter().map(String::as_str)).iter().all(|line| line.get("error").is_none()));
    let marks = [
        "\"", "{", "}", "[", "]", "\\", "\\ud800", ":", ",", "null", "-1", "1e999", "\\n", "data: ", "\u{0}",
        "$ref",
    ];
    let mutated: Vec<String> = (0..3_000)
        .map(|round| {
            let mut text = invented[round % invented.len()].clone().into_bytes();
            for _ in 0..=dice.below(6) {
                let at = dice.below(text.len());
                let end = (at + dice.below(12)).min(text.len());
                let mark = marks[dice.below(marks.len())].bytes();
                text.splice(at..end, mark);
            }
            String::from_utf8_lossy(&text).replace('\n', " ")
        })
        .collect();
    assert_eq!(account(mutated.iter().map(String::as_str)).len(), mutated.len());
}
