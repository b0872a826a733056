//! Responses: the events of a stream as the response that they stand for. The last event repeats it whole; where that one
//! is missing, since the call was cut, the items are put together from their pieces.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::merge::push_text;
use super::stream::{StreamEvents, add_remarks};

/// A list of an item, and the member of an event that counts in it.
type ListPlace = (&'static str, &'static str);

/// Where the pieces of an event go: the event without `.delta` or `.done`, the list of the item with the member of the
/// event that counts in it, and the member that they are put together in, which is its name in the `.done` event, too.
const PIECES: [(&str, Option<ListPlace>, &str); 8] = [
    ("response.output_text", Some(("content", "content_index")), "text"),
    ("response.refusal", Some(("content", "content_index")), "refusal"),
    ("response.reasoning_text", Some(("content", "content_index")), "text"),
    ("response.reasoning_summary_text", Some(("summary", "summary_index")), "text"),
    ("response.function_call_arguments", None, "arguments"),
    ("response.mcp_call_arguments", None, "arguments"),
    ("response.custom_tool_call_input", None, "input"),
    ("response.code_interpreter_call_code", None, "code"),
];

/// Events that bring a part of an item: the beginning of their names, and where the part goes.
const PARTS: [(&str, ListPlace); 2] = [
    ("response.content_part.", ("content", "content_index")),
    ("response.reasoning_summary_part.", ("summary", "summary_index")),
];

/// Positions of a list beyond this are no positions; the service has no more than some hundred.
const POSITION_MAX: usize = 10_000;

/// The response.
pub(super) fn assembled(events: &StreamEvents) -> Value {
    let (mut response, mut items) = (Value::Object(Map::new()), BTreeMap::<u64, Value>::new());
    let mut errors = Vec::new();
    for event in events.objects() {
        let Some(kind) = event["type"].as_str() else { continue };
        if let Some(whole) = event.get("response").filter(|whole| whole.is_object()) {
            response = whole.clone();
        } else if kind.starts_with("response.output_item.") {
            items.insert(output_index(event), event["item"].clone());
        } else if kind == "error" {
            errors.push(event.clone());
        } else if event["output_index"].is_u64() {
            add(items.entry(output_index(event)).or_default(), kind, event);
        }
    }
    let is_told = response["output"].as_array().is_some_and(|output| !output.is_empty());
    if !is_told {
        response["output"] = items.into_values().collect();
    }
    add_remarks(&mut response, errors, events.others());
    response
}

fn output_index(event: &Value) -> u64 {
    event["output_index"].as_u64().unwrap_or_default()
}

/// Adds what an event brings to its item.
fn add(item: &mut Value, kind: &str, event: &Value) {
    if !item.is_object() {
        *item = Value::Object(Map::new());
    }
    if let Some((_, list)) = PARTS.iter().find(|(start, _)| kind.starts_with(start)) {
        if let Some(place) = place(item, *list, event) {
            *place = event["part"].clone();
        }
        return;
    }
    let Some((name, end)) = kind.rsplit_once('.') else { return };
    let Some((_, list, member)) = PIECES.iter().find(|(known, _, _)| *known == name) else { return };
    let place = match list {
        Some(list) => place(item, *list, event),
        None => Some(item),
    };
    let Some(place) = place else { return };
    match (end, event["delta"].as_str(), event.get(member)) {
        ("delta", Some(piece), _) => push_text(place, member, piece),
        ("done", _, Some(whole)) => place[*member] = whole.clone(),
        _ => {}
    }
}

/// The place in a list of an item that an event is about.
fn place<'a>(item: &'a mut Value, (list, position): ListPlace, event: &Value) -> Option<&'a mut Value> {
    let at = usize::try_from(event[position].as_u64()?).ok().filter(|at| *at < POSITION_MAX)?;
    if !item[list].is_array() {
        item[list] = Value::Array(Vec::new());
    }
    let list = item[list].as_array_mut()?;
    if list.len() <= at {
        list.resize(at + 1, Value::Object(Map::new()));
    }
    let place = list.get_mut(at)?;
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    Some(place)
}
