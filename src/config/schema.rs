//! The JSON Schema of a configuration file, from the table of settings: for editors, and for charts that
//! carry the file.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::setting::AnySetting;
use super::settings::SETTINGS;

/// JSON Schema, draft 2020-12, of the TOML file: one flat table.
pub fn json_schema() -> Value {
    let in_file = SETTINGS.iter().filter(|setting| !setting.is_secret());
    let properties: Map<String, Value> = in_file.map(|setting| (setting.key(), property(setting))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of tokenweir",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(setting: &AnySetting) -> Value {
    let mut property = rule(setting.kind);
    property["description"] = format!("{} [{}]", setting.help, setting.kind.allowed()).into();
    if let Some(default) = setting.default {
        let number = matches!(setting.kind, Kind::Count(..)).then(|| default.parse::<u64>().ok()).flatten();
        property["default"] = number.map_or_else(|| default.into(), Value::from);
    }
    property
}

/// The rule for a value. Ranges of values with a unit stand in the description: a schema cannot say them.
fn rule(kind: Kind) -> Value {
    let text = json!({"type": "string", "minLength": 1});
    match kind {
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Count(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Time(..) => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Kind::Size(..) => json!({"type": "string", "pattern": "^(0|[0-9]+(KiB|MiB|GiB|TiB))$"}),
        Kind::Share => json!({"type": "string", "pattern": "^[0-9]+([.][0-9]{1,4})?%$"}),
        Kind::List(_) | Kind::Repeated(_) => {
            json!({"anyOf": [text.clone(), {"type": "array", "items": text}]})
        }
        Kind::Address | Kind::Path | Kind::Text(_) | Kind::Secret => text,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Values;

    /// A value that the schema allows is read without error, and one that it forbids is an error.
    #[test]
    fn the_schema_and_the_reader_agree() {
        let schema = json_schema();
        let reads = |text: &str| {
            Values::resolve(|_| None, |_| None, Some((Path::new("t.toml"), text))).errors().is_empty()
        };
        for setting in SETTINGS {
            let key = setting.key();
            let property = &schema["properties"][&key];
            if setting.is_secret() {
                assert!(property.is_null() && !reads(&format!("{key} = \"x\"")), "{key}");
                continue;
            }
            if let Some(default) = property.get("default") {
                assert!(reads(&format!("{key} = {default}")), "{key} = {default}");
            }
            for word in property["enum"].as_array().into_iter().flatten() {
                assert!(reads(&format!("{key} = {word}")), "{key} = {word}");
            }
            let (min, max) = (property["minimum"].as_u64(), property["maximum"].as_u64());
            if let (Some(min), Some(max)) = (min, max) {
                assert!(reads(&format!("{key} = {min}")) && reads(&format!("{key} = {max}")), "{key}");
                assert!(!reads(&format!("{key} = {}", max + 1)), "{key}");
                assert!(min == 0 || !reads(&format!("{key} = {}", min - 1)), "{key}");
            }
            assert!(!reads(&format!("{key} = \"\"")), "{key}: nothing");
            assert!(!reads(&format!("{key} = true")), "{key}: a boolean");
            assert!(property["description"].as_str().unwrap().starts_with(setting.help), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert!(!reads("no_such_key = 1"));
    }
}
