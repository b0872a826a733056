//! Which schemas of functions are of a kind that recordings prove. Whatever is not named here may be
//! shown in a way that was never recorded.

use serde_json::Value;

use crate::prompt::object::Object;

/// Schemas nested deeper than this are not proven.
const DEPTH_MAX: usize = 8;

/// The function has nothing but what recordings have.
pub(super) fn function(function: &Object) -> bool {
    let known = |(key, value): (&String, &Value)| match key.as_str() {
        "name" => value.is_string(),
        // In the Responses API it stands beside the name.
        "type" => value == "function",
        "description" => is_text(value),
        "strict" => matches!(value, Value::Null | Value::Bool(_)),
        "parameters" => value.is_null() || is_parameters(value),
        // A framework's own flags: the service takes no notice (6 of 6 recordings).
        "requires_confirmation" | "external_execution" => value.is_boolean(),
        _ => false,
    };
    function.contains_key("name") && function.iter().all(known)
}

fn is_text(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

/// The schema of all parameters: an object with or without properties, and definitions beside it.
fn is_parameters(schema: &Value) -> bool {
    let Value::Object(members) = schema else { return false };
    let known = |(key, value): (&String, &Value)| match key.as_str() {
        "type" => value == "object",
        "$schema" => value.is_string(),
        "$defs" => value.as_object().is_some_and(|all| all.values().all(|one| is_schema(one, 1))),
        "properties" => are_properties(value, 0),
        key => is_common(key, value),
    };
    members.iter().all(known)
}

fn are_properties(properties: &Value, depth: usize) -> bool {
    let known = |(key, value): (&String, &Value)| is_name(key) && is_schema(value, depth + 1);
    properties.as_object().is_some_and(|properties| properties.iter().all(known))
}

/// A name that needs no quotes in TypeScript. Others have not been seen.
fn is_name(key: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    key.bytes().all(word) && key.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Whether any schema may have this member.
fn is_common(key: &str, value: &Value) -> bool {
    match key {
        "title" | "description" => is_text(value),
        "required" => value.is_array(),
        "additionalProperties" => *value == Value::Bool(false),
        _ => false,
    }
}

fn is_schema(schema: &Value, depth: usize) -> bool {
    let Value::Object(members) = schema else { return false };
    if members.contains_key("$ref") {
        return true; // The renderer knows whether it leads anywhere.
    }
    let known = |(key, value): (&String, &Value)| match key.as_str() {
        "type" => true,
        "items" => depth < DEPTH_MAX && is_item(value, depth + 1),
        "properties" => depth < DEPTH_MAX && are_properties(value, depth),
        "enum" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "default" => is_default(members, value),
        // One of them; the renderer doubts more.
        "minimum" | "maximum" | "exclusiveMinimum" => is_bound(members, value),
        key => is_common(key, value),
    };
    let has = |key| members.contains_key(key);
    let typed = match members.get("type").and_then(Value::as_str) {
        Some("string") => true,
        Some("number" | "integer" | "boolean") => !has("enum"),
        Some("array") => has("items") && !has("enum"),
        Some("object") => members.get("properties").is_some_and(|all| *all != Value::Object(Object::new())),
        _ => false,
    };
    typed && members.iter().all(known)
}

/// Lists are of plain types, or of objects.
fn is_item(schema: &Value, depth: usize) -> bool {
    let is_array = schema.get("type").is_some_and(|name| name == "array");
    !is_array && schema.get("enum").is_none() && is_schema(schema, depth)
}

/// Bounds have been seen of numbers.
fn is_bound(schema: &Object, value: &Value) -> bool {
    value.is_number() && schema.get("type").is_some_and(|name| name == "integer" || name == "number")
}

/// Defaults have been seen of texts, truth values and null, not beside an enum or of an object. A
/// whole number reads the same in JSON and in Python.
fn is_default(schema: &Object, value: &Value) -> bool {
    let plain = value.is_null() || value.is_string() || value.is_boolean() || value.is_i64();
    plain && !schema.contains_key("enum") && schema.get("type").is_some_and(|name| name != "object")
}
