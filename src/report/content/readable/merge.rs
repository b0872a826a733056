//! Deltas merged into what came before.

use serde_json::map::Entry;
use serde_json::{Map, Value};

/// Members whose texts come in pieces; of any other one the latest stands.
const PIECES: [&str; 10] = [
    "arguments",
    "code",
    "content",
    "data",
    "input",
    "reasoning",
    "reasoning_content",
    "refusal",
    "text",
    "transcript",
];

/// Merges the members of a delta. Texts that come in pieces are put together, lists are matched by `index` or go on, and
/// an empty value says nothing new.
pub(super) fn merge_members(into: &mut Map<String, Value>, delta: &Map<String, Value>) {
    for (name, value) in delta.iter().filter(|(_, value)| !value.is_null()) {
        match into.entry(name.clone()) {
            Entry::Vacant(place) => _ = place.insert(fresh(value)),
            Entry::Occupied(mut place) => merge(place.get_mut(), value, PIECES.contains(&name.as_str())),
        }
    }
}

/// What begins with a delta: it says no more of what is null than a later one, and a list of its own may hold more than
/// one piece of the same thing.
fn fresh(value: &Value) -> Value {
    let mut fresh = match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        other => return other.clone(),
    };
    merge(&mut fresh, value, false);
    fresh
}

fn merge(into: &mut Value, delta: &Value, is_pieces: bool) {
    match (&mut *into, delta) {
        (Value::String(text), Value::String(more)) if is_pieces => text.push_str(more),
        (Value::String(text), Value::String(other)) if other.is_empty() && !text.is_empty() => {}
        (Value::Object(members), Value::Object(more)) => merge_members(members, more),
        (Value::Array(items), Value::Array(more)) => more.iter().for_each(|item| merge_item(items, item)),
        // A filter that has once struck has struck.
        (Value::Bool(said), Value::Bool(more)) => *said |= more,
        // A text that becomes a list, or the other way round: both stand.
        (Value::Null, _) => *into = delta.clone(),
        (_, _) if is_pieces => *into = Value::Array(vec![into.take(), delta.clone()]),
        _ => *into = delta.clone(),
    }
}

/// Merges an item into the one with its index, or adds it.
pub(super) fn merge_item(items: &mut Vec<Value>, item: &Value) {
    let index = item.get("index").filter(|index| index.is_u64());
    // Pieces of the same thing follow each other, so the last is looked at first.
    let known = index.and_then(|index| items.iter().rposition(|known| known.get("index") == Some(index)));
    match (known, item) {
        (Some(at), Value::Object(members)) if items[at].is_object() => {
            if let Value::Object(into) = &mut items[at] {
                merge_members(into, members);
            }
        }
        _ => items.push(fresh(item)),
    }
}

/// Adds a piece to the text in a member.
pub(super) fn push_text(into: &mut Value, member: &str, piece: &str) {
    match &mut into[member] {
        Value::String(text) => text.push_str(piece),
        other => *other = Value::String(piece.to_owned()),
    }
}
