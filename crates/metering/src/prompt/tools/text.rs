//! Lines and comments of the tools text, and the members of a schema that count as there.

use serde_json::Value;

use crate::prompt::object::Object;

/// Each line trimmed and made a comment.
pub(super) fn comment(text: &str) -> Vec<String> {
    text.trim().split('\n').map(|line| format!("// {}", line.trim()).trim_end().to_owned()).collect()
}

/// Lines as text, each with its end.
pub(super) fn lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A member that is there and neither null nor empty: what Python calls true.
pub(super) fn some<'v>(schema: &'v Object, key: &str) -> Option<&'v Value> {
    schema.get(key).filter(|value| match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    })
}

pub(super) fn some_text<'v>(schema: &'v Object, key: &str) -> Option<&'v str> {
    some(schema, key)?.as_str()
}
