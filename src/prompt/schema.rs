//! `response_format` of type `json_schema`: the text that the service shows to the model.
//!
//! Evidence: 98.6 % of 216 recorded classic prompts with a schema are exact.

use serde_json::{Map, Value};

use super::json::{COMPACT_ASCII, to_string};

/// Validation keywords, which the text leaves out. The first nine were seen to be, the others are
/// taken to be of their kind.
const DROPPED: [&str; 15] = [
    "required",
    "additionalProperties",
    "$schema",
    "default",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "pattern",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "uniqueItems",
];

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

/// Leaves the validation keywords out. Directly inside `properties` and the like, keys are names.
fn clean(schema: &Value, names: bool) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| names || !DROPPED.contains(&key.as_str()));
            let cleaned = kept.map(|(key, value)| {
                let inner = !names && matches!(key.as_str(), "properties" | "$defs" | "definitions");
                (key.clone(), clean(value, inner))
            });
            Value::Object(cleaned.collect())
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
}
