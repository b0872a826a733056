//! `response_format` of type `json_schema`: the text that the service shows to the model.
//!
//! ```text
//! # Response Formats
//!
//! ## NAME
//!
//! // the description, if given
//! {"type":"object","properties":{"city":{"type":"string"}}}
//! ```
//!
//! The schema is compact JSON in the order of its keys, what is not ASCII escaped (23 of 23 prompts,
//! where not escaping would be 6 to 12 tokens off), without the keywords that only validate.
//!
//! Evidence: all 160 recorded chat prompts with a schema are exact, of 38 schemas from 5 programs.

use serde_json::{Map, Value};

use super::json::{COMPACT_ASCII, to_string};

/// Keywords that the text leaves out. The first nine were seen to be (`minItems` in recordings that
/// are not at hand; `format` in 9 of 9 prompts, of a date, an address and a number, where keeping it
/// would be wrong in all); the others are taken to be of their kind.
const DROPPED: [&str; 16] = [
    "required",
    "additionalProperties",
    "$schema",
    "default",
    "minimum",
    "maximum",
    "maxItems",
    "minItems",
    "format",
    "pattern",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "uniqueItems",
];

/// How many of those were seen.
const DROPPED_PROVEN: usize = 9;

/// Keywords that were seen to stay.
const KEPT: [&str; 10] =
    ["type", "properties", "items", "title", "description", "enum", "const", "anyOf", "$ref", "$defs"];

/// The text for a `json_schema` object.
pub(super) fn format_text(json_schema: &Map<String, Value>) -> String {
    let text = |key: &str| json_schema.get(key).and_then(Value::as_str).unwrap_or("");
    let description = match text("description") {
        "" => String::new(),
        description => format!("// {description}\n"),
    };
    let empty = Value::Object(Map::new());
    let schema = json_schema.get("schema").filter(|schema| !schema.is_null()).unwrap_or(&empty);
    let schema = to_string(&clean(schema, false), COMPACT_ASCII);
    format!("# Response Formats\n\n## {}\n\n{description}{schema}", text("name"))
}

/// A `json_schema` object with nothing but what recordings have.
pub(super) fn is_proven(json_schema: &Map<String, Value>) -> bool {
    json_schema.iter().all(|(key, value)| match key.as_str() {
        "name" => value.is_string(),
        // No recording shows what becomes of several lines.
        "description" => value.is_null() || value.as_str().is_some_and(|text| !text.contains('\n')),
        "strict" => matches!(value, Value::Null | Value::Bool(_)),
        "schema" => are_keywords_proven(value, false),
        _ => false,
    })
}

fn are_keywords_proven(schema: &Value, names: bool) -> bool {
    match schema {
        Value::Object(members) => members.iter().all(|(key, value)| match key.as_str() {
            _ if names => are_keywords_proven(value, false),
            "enum" | "const" => true,
            key if DROPPED[..DROPPED_PROVEN].contains(&key) => true,
            key => KEPT.contains(&key) && are_keywords_proven(value, is_named(key)),
        }),
        Value::Array(items) => items.iter().all(|item| are_keywords_proven(item, false)),
        _ => true,
    }
}

/// Within these, keys are names and no keywords.
fn is_named(key: &str) -> bool {
    matches!(key, "properties" | "$defs" | "definitions")
}

/// Leaves the validation keywords out. Directly inside `properties` and the like, keys are names.
fn clean(schema: &Value, names: bool) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| names || !DROPPED.contains(&key.as_str()));
            let cleaned = |(key, value): (&String, &Value)| {
                let literal = !names && matches!(key.as_str(), "enum" | "const");
                let value = if literal { value.clone() } else { clean(value, !names && is_named(key)) };
                (key.clone(), value)
            };
            Value::Object(kept.map(cleaned).collect())
        }
        Value::Array(items) => items.iter().map(|item| clean(item, false)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_cleaned_and_keeps_its_order() {
        let format = json!({"name": "out", "description": "What\nto say", "strict": true, "schema": {
            "type": "object", "required": ["required"], "additionalProperties": false,
            "properties": {"required": {"type": "string", "maxLength": 3, "title": "é"}, "a": {"type": "array", "items": {"minimum": 1, "type": "integer"}}},
        }});
        assert_eq!(
            format_text(format.as_object().unwrap()),
            "# Response Formats\n\n## out\n\n// What\nto say\n{\"type\":\"object\",\"properties\":{\"required\":{\"type\":\"string\",\"title\":\"\\u00e9\"},\"a\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}}}"
        );
    }

    #[test]
    fn what_was_not_recorded_is_not_proven() {
        let proven = |format: Value| is_proven(format.as_object().unwrap());
        let of = |schema: Value| proven(json!({"name": "out", "schema": schema}));
        assert!(of(json!({"type": "object", "properties": {"format": {"type": "string", "minimum": 1}},
            "$defs": {"pattern": {"anyOf": [{"const": {"x": 1}}, {"$ref": "#"}]}}})));
        assert!(proven(json!({"name": "out", "description": "One line", "strict": null, "schema": null})));
        for schema in [
            json!({"multipleOf": 2}),
            json!({"items": {"pattern": "a"}}),
            json!({"properties": {"a": {"x": 1}}}),
        ] {
            assert!(!of(schema.clone()), "{schema}");
        }
        assert!(!proven(json!({"name": "out", "description": "Two\nlines"})));
        assert!(!proven(json!({"name": "out", "mode": "x"})));
    }
}
