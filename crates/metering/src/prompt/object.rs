//! A JSON object of a request, as the rules look into it.

use serde_json::Value;

/// A JSON object of a request; its keys are in order.
pub(super) type Object = serde_json::Map<String, Value>;

/// The text under a key; empty if there is none.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}
