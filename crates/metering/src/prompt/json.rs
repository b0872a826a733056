//! JSON as the service writes it into prompts: Python's `json.dumps`.

use serde_json::{Number, Value};

/// How `json.dumps` is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    item_separator: &'static str,
    key_separator: &'static str,
    /// Everything beyond ASCII is escaped.
    ascii: bool,
}

/// No spaces, text as it is: arguments of calls.
pub(super) const COMPACT: Style = Style { item_separator: ",", key_separator: ":", ascii: false };
/// No spaces, ASCII only: schemas of responses.
pub(super) const COMPACT_ASCII: Style = Style { item_separator: ",", key_separator: ":", ascii: true };
/// Python's defaults: results of parallel calls.
pub(super) const SPACED_ASCII: Style = Style { item_separator: ", ", key_separator: ": ", ascii: true };
/// Python's defaults but for the text: literals in type definitions.
pub(super) const SPACED: Style = Style { item_separator: ", ", key_separator: ": ", ascii: false };

/// `value` in that style, appended to `out`.
pub(super) fn write(value: &Value, style: Style, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, style, out),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place > 0 { style.item_separator } else { "" });
                write(item, style, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (place, (key, value)) in members.iter().enumerate() {
                out.push_str(if place > 0 { style.item_separator } else { "" });
                write_text(key, style, out);
                out.push_str(style.key_separator);
                write(value, style, out);
            }
            out.push('}');
        }
    }
}

/// A new string with `value` in that style.
pub(super) fn to_string(value: &Value, style: Style) -> String {
    let mut out = String::new();
    write(value, style, &mut out);
    out
}

/// Python writes floats below 1e-4 and from 1e16 on with an exponent: `1e-07`, `1e+16`.
fn write_number(number: &Number, out: &mut String) {
    let scientific = number.as_f64().filter(|_| number.is_f64()).map(|float| format!("{float:e}"));
    let parts = scientific.as_deref().and_then(|text| text.split_once('e'));
    match parts.and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            out.push_str(&format!("{digits}e{sign}{:02}", exponent.abs()));
        }
        _ => out.push_str(&number.to_string()),
    }
}

fn write_text(text: &str, style: Style, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let escape = |unit: u16, out: &mut String| {
        out.push_str("\\u");
        for shift in [12, 8, 4, 0] {
            out.push(char::from(HEX[usize::from(unit >> shift & 0xF)]));
        }
    };
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => escape(character as u16, out),
            character if style.ascii && !character.is_ascii() => {
                character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escape(*unit, out));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

/// Arguments of a call without spaces; as they are if they are not JSON.
pub fn compact(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments) {
        Ok(value) => to_string(&value, COMPACT),
        Err(_) => arguments.to_owned(),
    }
}

/// Arguments as Python writes them, where that has spaces that a compact writer leaves out.
pub fn is_spaced(arguments: &[u8]) -> bool {
    serde_json::from_slice::<Value>(arguments).is_ok_and(|value| {
        let spaced = to_string(&value, SPACED);
        spaced.len() > to_string(&value, COMPACT).len()
            && [spaced, to_string(&value, SPACED_ASCII)].iter().any(|text| text.as_bytes() == arguments)
    })
}

/// Several calls of one turn, as the one call to an internal wrapper that the service bills.
pub fn parallel<'a>(calls: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{\"tool_uses\":[");
    for (place, (name, arguments)) in calls.into_iter().enumerate() {
        out.push_str(if place > 0 { "," } else { "" });
        out.push_str("{\"recipient_name\":\"functions.");
        out.push_str(name);
        out.push_str("\",\"parameters\":");
        out.push_str(&compact(arguments));
        out.push('}');
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_python_writes() {
        let value = json!({"b": ["é😀\u{1}\u{7f}", 1, 1.0, 0.5, null, true], "a": {}, "c": []});
        assert_eq!(
            to_string(&value, SPACED_ASCII),
            r#"{"b": ["\u00e9\ud83d\ude00\u0001"#.to_owned()
                + "\u{7f}"
                + r#"", 1, 1.0, 0.5, null, true], "a": {}, "c": []}"#
        );
        assert_eq!(
            to_string(&value, COMPACT),
            r#"{"b":["é😀\u0001"#.to_owned() + "\u{7f}" + r#"",1,1.0,0.5,null,true],"a":{},"c":[]}"#
        );
        let numbers = json!([1e-7, 1e16, 1.5e300, 1e-5, 0.0001, 1e15, 123456789.125, 0.0]);
        assert_eq!(
            to_string(&numbers, COMPACT),
            "[1e-07,1e+16,1.5e+300,1e-05,0.0001,1000000000000000.0,123456789.125,0.0]"
        );
    }

    #[test]
    fn calls() {
        assert_eq!(compact("{ \"b\": 1,\n \"a\": \"x y\" }"), r#"{"b":1,"a":"x y"}"#);
        assert_eq!(compact("{ not json"), "{ not json");
        assert_eq!(
            parallel([("f", "{\"a\": 1}"), ("g", "{}")]),
            r#"{"tool_uses":[{"recipient_name":"functions.f","parameters":{"a":1}},{"recipient_name":"functions.g","parameters":{}}]}"#
        );
    }
}
