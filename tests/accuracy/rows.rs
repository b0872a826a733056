//! In which rows of the table a case counts: requests with images, audio, files, hosted tools or
//! state kept by the service count in none, since nothing outside the service can know their bill.

use serde_json::Value;

use crate::recordings::{documents, is_true, list};

/// From January to mid-May 2025 part of api.openai.com billed the end of a turn and part did not:
/// seconds since 1970.
const UNSURE_END_OF_TURN: std::ops::RangeInclusive<u64> = 1_735_689_600..=1_747_699_200;

/// The Responses API opened on March 11, 2025: an answer dated before was written by hand (five are, with
/// ids that no service makes), and its usage is nobody's bill. Seconds since 1970.
const RESPONSES_OPENED: u64 = 1_741_651_200;

/// Parts of a content that are text.
const TEXT_PARTS: [&str; 4] = ["text", "refusal", "input_text", "output_text"];

/// The rows of a case: of its prompt, and of its answer.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) input: Vec<String>,
    pub(crate) output: Vec<String>,
}

pub(crate) fn of(case: &Value) -> Rows {
    let row = |name: &str| vec![name.to_owned()];
    if is_true(&case["suspect"]) || !is_true(&case["usage"]) {
        return Rows::default();
    }
    match case["api"].as_str().unwrap() {
        "embeddings" => Rows { input: row("embeddings"), output: vec![] },
        "completions" => Rows { input: row("completions, prompt"), output: row("completions, output") },
        "responses" => responses(case),
        _ => chat(case),
    }
}

fn family(case: &Value) -> &'static str {
    let bare = case["model"].as_str().unwrap().rsplit('/').next().unwrap();
    match bare.strip_prefix("ft:").unwrap_or(bare) {
        name if name.starts_with("gpt-5") => "gpt-5",
        name if ["o1", "o3", "o4", "codex"].iter().any(|start| name.starts_with(start)) => "o-series",
        _ => "classic",
    }
}

fn is_text(content: &Value) -> bool {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().all(|part| TEXT_PARTS.iter().any(|kind| part["type"] == *kind))
}

fn chat(case: &Value) -> Rows {
    let request = &case["request"];
    let said = |message: &Value| is_text(&message["content"]) && !is_true(&message["audio"]);
    let hosted = request.get("web_search_options").is_some()
        || list(request, "tools").iter().any(|tool| tool["type"] != "function");
    if hosted || !list(request, "messages").iter().all(said) {
        return Rows::default();
    }
    let family = family(case);
    let azure = is_true(&case["azure"]);
    let mut input = vec![format!("chat prompt, {family}")];
    input.extend(azure.then(|| "chat prompt, Azure".to_owned()));
    let documents = documents(case);
    let choices: Vec<_> = documents.iter().flat_map(|document| list(document, "choices")).collect();
    let audio = |choice: &&Value| is_true(&choice["message"]["audio"]) || is_true(&choice["delta"]["audio"]);
    if choices.is_empty() || choices.iter().any(audio) || family != "classic" {
        return Rows { input, output: vec![] };
    }
    let created = documents.iter().filter_map(|document| document["created"].as_u64()).rfind(|at| *at > 0);
    let unsure = created.is_some_and(|at| UNSURE_END_OF_TURN.contains(&at));
    let output = match (azure, unsure) {
        (true, _) => vec!["chat completion, Azure".to_owned()],
        (false, true) => vec![],
        (false, false) => vec!["chat completion, classic".to_owned()],
    };
    Rows { input, output }
}

fn responses(case: &Value) -> Rows {
    let request = &case["request"];
    let Some(last) = last_document(case) else { return Rows::default() };
    if last["created_at"].as_f64().is_some_and(|at| at < RESPONSES_OPENED as f64) {
        return Rows::default();
    }
    let given = |key: &str| is_true(&request[key]);
    let state = given("previous_response_id") || given("conversation") || given("prompt");
    let hosted_tool = list(request, "tools").iter().any(|tool| tool["type"] != "function");
    let items = list(request, "input");
    let begun = given("instructions") || !items.is_empty() || request["input"].is_string();
    let plain = |item: &Value| match item["type"].as_str().unwrap_or("message") {
        "message" => is_text(&item["content"]),
        "function_call" => true,
        "function_call_output" => is_text(&item["output"]),
        _ => false,
    };
    let hosted_item = |item: &Value| {
        let kind = item["type"].as_str().unwrap_or("message");
        !["message", "function_call", "function_call_output", "reasoning"].contains(&kind)
    };
    let family = family(case);
    let mut rows = Rows::default();
    if begun && !state && !hosted_tool && items.iter().all(plain) {
        rows.input.push(format!("Responses prompt, {family}"));
    }
    let shown =
        |item: &Value| ["message", "function_call", "reasoning"].iter().any(|kind| item["type"] == *kind);
    let hidden = hosted_tool || items.iter().any(hosted_item) || !list(&last, "output").iter().all(shown);
    if !hidden && family == "classic" {
        rows.output.push("Responses output, classic".to_owned());
    }
    rows
}

/// The whole answer, or that of the event that ends a stream.
fn last_document(case: &Value) -> Option<Value> {
    documents(case).into_iter().rev().find_map(|document| {
        if case["response_kind"] == "json" {
            return Some(document);
        }
        let kind = document["type"].as_str().unwrap_or("");
        let ends = ["response.completed", "response.incomplete", "response.failed"].contains(&kind);
        ends.then(|| document["response"].clone())
    })
}
