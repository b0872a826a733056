//! A request in any pieces has the facts of the whole, and for a document that serde_json reads they
//! are the ones that stand in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::chunk::{RequestFacts, RequestScan, SIZE_CHARS_MAX, Stop};
use serde_json::{Map, Value};
use tokenweir_fuzz::Cuts;

/// The scanner looks no further into a name or a word.
const WORD_BYTES_MAX: usize = 40;

fuzz_target!(|input: &[u8]| {
    let (mut cuts, body) = Cuts::take(input);
    let facts = scanned(&[body]);
    assert_eq!(scanned(&cuts.pieces(body)), facts);
    let characters = spoken(&[body]);
    assert_eq!(spoken(&cuts.pieces(body)), characters);
    if let Ok(Value::Object(expected)) = serde_json::from_slice(body) {
        compare(&facts, &expected);
        let text = expected.get("input").and_then(Value::as_str);
        assert_eq!(characters, text.map(|text| text.chars().count() as u64));
    }
});

fn spoken(pieces: &[&[u8]]) -> Option<u64> {
    let mut scan = RequestScan::counting_characters();
    pieces.iter().for_each(|piece| scan.push(piece));
    scan.facts().input_characters
}

fn scanned(pieces: &[&[u8]]) -> RequestFacts {
    let mut scan = RequestScan::default();
    pieces.iter().for_each(|piece| scan.push(piece));
    scan.facts()
}

fn compare(facts: &RequestFacts, body: &Map<String, Value>) {
    let get = |name: &str| body.get(name).unwrap_or(&Value::Null);
    let is_true = |name: &str| *get(name) == Value::Bool(true);
    let given = |name: &str| !get(name).is_null() && *get(name) != Value::String(String::new());
    let function = |tool: &Value| tool.get("type").and_then(Value::as_str).map(|kind| kind == "function");
    assert!(facts.complete);
    if get("model").as_str().is_none_or(|model| model.len() <= WORD_BYTES_MAX) {
        assert_eq!(facts.model.as_deref(), get("model").as_str());
    }
    for (found, name) in [(&facts.size, "size"), (&facts.quality, "quality")] {
        assert_eq!(found.as_deref(), get(name).as_str().filter(|text| text.len() <= SIZE_CHARS_MAX));
    }
    let named = |member: &str| get(member).get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let agent = named("agent_reference").or(named("agent"));
    if agent.is_none_or(|agent| agent.len() <= WORD_BYTES_MAX) {
        assert_eq!(facts.agent.as_deref(), agent);
    }
    let stream = get("stream");
    assert_eq!(facts.stream, if stream.is_null() { Some(false) } else { stream.as_bool() });
    assert_eq!(facts.echo, is_true("echo"));
    assert_eq!(facts.n, get("n").as_u64());
    assert_eq!(facts.best_of, get("best_of").as_u64());
    if let Value::Null | Value::String(_) = get("stop") {
        assert_eq!(facts.stop != Stop::Never, given("stop"));
    }
    assert_eq!(facts.suffix, given("suffix"));
    assert_eq!(facts.data_sources, given("data_sources"));
    assert_eq!(facts.prediction, given("prediction"));
    assert_eq!(facts.web_search, given("web_search_options"));
    let state = given("previous_response_id") || given("conversation") || get("prompt").is_object();
    assert_eq!(facts.server_state, state);
    let include_usage = get("stream_options").get("include_usage") == Some(&Value::Bool(true));
    assert_eq!(facts.include_usage, include_usage);
    if !get("tools").is_object() {
        let tools = get("tools").as_array().cloned().unwrap_or_default();
        let kinds: Vec<bool> = tools.iter().filter_map(function).collect();
        let functions = kinds.iter().filter(|is_function| **is_function).count();
        assert_eq!(facts.functions as usize, functions);
        assert_eq!(facts.hosted_tools, functions < kinds.len());
    }
}
