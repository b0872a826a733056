//! Messages: the events of a stream as the message that they stand for, with its text, thinking and tool use.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::merge::{merge_members, push_text};
use super::stream::{StreamEvents, add_remarks};

/// The input of a tool as it comes, until it is whole.
const PARTIAL: &str = "partial_json";

/// The message.
pub(super) fn assembled(events: &StreamEvents) -> Value {
    let (mut message, mut blocks, mut errors) = (Map::new(), BTreeMap::new(), Vec::new());
    for event in events.objects() {
        match event["type"].as_str() {
            Some("message_start") => {
                if let Some(start) = event["message"].as_object() {
                    merge_members(&mut message, start);
                }
            }
            Some("content_block_start") => _ = blocks.insert(index(event), event["content_block"].clone()),
            Some("content_block_delta") => add(blocks.entry(index(event)).or_default(), &event["delta"]),
            Some("message_delta") => end(&mut message, event),
            Some("error") => errors.push(event["error"].clone()),
            _ => {}
        }
    }
    message.insert("content".to_owned(), blocks.into_values().map(finished).collect());
    let mut message = Value::Object(message);
    add_remarks(&mut message, errors, events.others());
    message
}

fn index(event: &Value) -> u64 {
    event["index"].as_u64().unwrap_or_default()
}

/// The members of a delta's end stand in the message; `usage` counts on.
fn end(message: &mut Map<String, Value>, event: &Value) {
    if let Some(delta) = event["delta"].as_object() {
        merge_members(message, delta);
    }
    if let Some(usage) = event.get("usage") {
        merge_members(message, &Map::from_iter([("usage".to_owned(), usage.clone())]));
    }
}

/// Adds a piece to a block.
fn add(block: &mut Value, delta: &Value) {
    if !block.is_object() {
        *block = Value::Object(Map::new());
    }
    let Value::Object(members) = delta else { return };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", _) => {}
            ("text" | "thinking" | "signature" | PARTIAL, Value::String(piece)) => {
                push_text(block, name, piece)
            }
            ("citation", citation) => match &mut block["citations"] {
                Value::Array(all) => all.push(citation.clone()),
                other => *other = Value::Array(vec![citation.clone()]),
            },
            (_, value) => block[name] = value.clone(),
        }
    }
}

/// The pieces of a tool's input are its JSON, once all have come.
fn finished(mut block: Value) -> Value {
    let Some(partial) = block.get(PARTIAL).and_then(Value::as_str) else { return block };
    if let Ok(input) = serde_json::from_str::<Value>(partial)
        && let Value::Object(members) = &mut block
    {
        members.shift_remove(PARTIAL);
        members.insert("input".to_owned(), input);
    }
    block
}
