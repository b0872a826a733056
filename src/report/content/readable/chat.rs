//! Chat completions and completions: the chunks of a stream as the document that they stand for, with every choice, its
//! text, its refusal and its tool calls.

use serde_json::{Map, Value};

use super::merge::merge_members;
use super::stream::{StreamEvents, add_remarks};

/// The end of the name of a chunk's kind.
const CHUNK: &str = ".chunk";

/// The document.
pub(super) fn assembled(events: &StreamEvents) -> Value {
    let (mut document, mut choices, mut errors) = (Map::new(), Vec::new(), Vec::new());
    for chunk in events.objects().filter_map(Value::as_object) {
        let mut members = chunk.clone();
        if let Some(error) = members.shift_remove("error") {
            errors.push(error);
        }
        let new = members.shift_remove("choices");
        merge_members(&mut document, &members);
        for choice in new.iter().filter_map(Value::as_array).flatten() {
            add_choice(&mut choices, choice);
        }
    }
    if let Some(Value::String(object)) = document.get_mut("object")
        && let Some(whole) = object.strip_suffix(CHUNK)
    {
        *object = whole.to_owned();
    }
    choices.sort_by_key(index);
    document.insert("choices".to_owned(), Value::Array(choices));
    let mut document = Value::Object(document);
    add_remarks(&mut document, errors, events.others());
    document
}

/// Merges a choice of a chunk, whose `delta` is a piece of the `message` of the document.
fn add_choice(choices: &mut Vec<Value>, choice: &Value) {
    let Value::Object(choice) = choice else { return };
    let mut members = choice.clone();
    if let Some(delta) = members.shift_remove("delta") {
        members.insert("message".to_owned(), delta);
    }
    members.entry("index").or_insert(Value::from(0));
    let wanted = members["index"].clone();
    let known = choices.iter().rposition(|known| known["index"] == wanted);
    let at = known.unwrap_or_else(|| {
        choices.push(Value::Object(Map::new()));
        choices.len() - 1
    });
    if let Value::Object(into) = &mut choices[at] {
        merge_members(into, &members);
    }
}

fn index(choice: &Value) -> u64 {
    choice["index"].as_u64().unwrap_or(u64::MAX)
}
