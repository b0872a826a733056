//! JSON on one line. Only blanks between tokens go: a document that names a member twice, or has a number that no
//! reader can hold, is shown as it was sent.

use serde_json::value::RawValue;

/// The document in a text; `None` if it is none.
pub(super) fn raw_json(text: &str) -> Option<Box<RawValue>> {
    // Reading it shows that it is one; and quotes are paired, on which the next step relies.
    serde_json::from_str::<&RawValue>(text).ok()?;
    RawValue::from_string(compacted(text)).ok()
}

fn compacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_text, mut is_escaped) = (false, false);
    for character in text.chars() {
        let is_blank = matches!(character, ' ' | '\t' | '\r' | '\n');
        if in_text || !is_blank {
            out.push(character);
        }
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
    }
    out
}
