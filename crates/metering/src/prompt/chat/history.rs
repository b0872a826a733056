//! Finds which call a result belongs to, and which calls were made together.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::request::{content, role};
use crate::prompt::object::text;

/// A result in a list of results: JSON objects and arrays stand in it as such.
fn result(content: Cow<'_, str>) -> Value {
    match serde_json::from_str(&content) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(content.into_owned()),
    }
}

/// Which message asked for what is answered later, by `tool_call_id`.
#[derive(Debug, Default)]
pub(super) struct History<'a> {
    /// Tokens of the names of the functions called: many results may name one long name.
    pub(super) names: HashMap<&'a str, i64>,
    /// Of calls that were made together: the place of their message.
    pub(super) group: HashMap<&'a str, usize>,
    /// The results of those, by that place.
    pub(super) results: HashMap<usize, Vec<Value>>,
}

impl<'a> History<'a> {
    /// `tokens` counts a name.
    pub(super) fn of(messages: &'a [Value], tokens: impl Fn(&str) -> i64) -> History<'a> {
        let mut history = History::default();
        for (place, message) in messages.iter().enumerate() {
            let list = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice);
            for entry in list.unwrap_or_default() {
                let id = text(entry, "id");
                if let Some(function) = entry.get("function") {
                    history.names.insert(id, tokens(text(function, "name")));
                }
                if list.is_some_and(|list| list.len() > 1) {
                    history.group.insert(id, place);
                }
            }
        }
        for message in messages.iter().filter(|message| role(message) == "tool") {
            if let Some(place) = history.group.get(text(message, "tool_call_id")) {
                history.results.entry(*place).or_default().push(result(content(message)));
            }
        }
        history
    }
}
