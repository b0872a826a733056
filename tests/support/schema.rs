//! A strict reader of `tokenweir schema`: an event fits if every rule holds and no field is unknown.
//!
//! It knows the words that our schema uses and stops at any other, so it cannot pass over a rule.

use serde_json::Value;

/// Why an event does not fit the schema of events; empty if it does.
pub(crate) fn misfits(event: &Value) -> Vec<String> {
    let root: Value = serde_json::from_str(metering::usage::SCHEMA).unwrap();
    let mut found = Vec::new();
    check(event, &root, &root, "event", &mut found);
    found
}

fn check(value: &Value, schema: &Value, root: &Value, place: &str, found: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "$schema" | "title" | "description" | "format" | "$defs" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                check(value, target, root, place, found);
                true
            }
            "type" => types(rule).any(|name| is(value, name)),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => value == rule,
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "maxLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().unwrap())
            }
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "items" => {
                value.as_array().into_iter().flatten().for_each(|item| check(item, rule, root, place, found));
                true
            }
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                members(value, rule, schema, root, place, found);
                true
            }
            "additionalProperties" => true, // with the members
            "oneOf" => one_of(value, rule, root, place, found),
            other => panic!("the schema says {other:?}, which this test cannot read"),
        };
        if !fits {
            found.push(format!("{place}: {value} breaks {word}: {rule}"));
        }
    }
}

fn members(
    value: &Value,
    properties: &Value,
    schema: &Value,
    root: &Value,
    place: &str,
    found: &mut Vec<String>,
) {
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match properties.get(name).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => check(member, schema, root, &place, found),
            None => found.push(format!("{place} is not in the schema")),
        }
    }
}

/// The branch whose `type` is the event's; its other rules are then the event's.
fn one_of(value: &Value, branches: &Value, root: &Value, place: &str, found: &mut Vec<String>) -> bool {
    let is_branch = |branch: &&Value| branch["properties"]["type"]["const"] == value["type"];
    let Some(branch) = branches.as_array().unwrap().iter().find(is_branch) else { return false };
    check(&value["data"], &branch["properties"]["data"], root, &format!("{place}.data"), found);
    true
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let one = rule.as_str();
    one.into_iter().chain(rule.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the schema has type {other:?}, which this test cannot read"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[0-9]{20}$" => text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()),
        "^[0-9a-f]{12}$" => is_hex(text, 12),
        "^[0-9a-f]{32}$" => is_hex(text, 32),
        "^[0-9a-f]{64}$" => is_hex(text, 64),
        "^1\\.[0-9]+$" => text.strip_prefix("1.").is_some_and(|minor| minor.parse::<u32>().is_ok()),
        other => panic!("the schema has pattern {other:?}, which this test cannot read"),
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
