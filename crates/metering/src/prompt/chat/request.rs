//! Looks into a chat request: each part is found by its name, and absent ones are empty.

use std::borrow::Cow;

use serde_json::Value;

use crate::prompt::content;
use crate::prompt::model::Model;
use crate::prompt::object::{Object, text};
use crate::prompt::tools::{Dialect, Rendered, render};

/// The functions that a request offers, in `tools` or in the older `functions`.
pub(super) fn functions(request: &Object) -> Vec<&Object> {
    let list = |key: &str| request.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_function = |tool: &&Value| text(tool, "type") == "function";
    let tools: Vec<_> = list("tools")
        .iter()
        .filter(is_function)
        .filter_map(|tool| tool.get("function")?.as_object())
        .collect();
    if tools.is_empty() { list("functions").iter().filter_map(Value::as_object).collect() } else { tools }
}

/// The tools text; empty if no function is offered.
pub(super) fn tools_text(request: &Object, model: Model) -> Rendered {
    let functions = functions(request);
    let dialect = if model.frames.early { Dialect::ChatEarly } else { Dialect::Chat };
    if functions.is_empty() { Rendered::default() } else { render(&functions, dialect) }
}

/// The messages of a request.
pub(super) fn messages(request: &Object) -> &[Value] {
    request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The `json_schema` that the response must follow.
pub(super) fn json_schema(request: &Object) -> Option<&Object> {
    let format = request.get("response_format")?;
    if text(format, "type") == "json_schema" { format.get("json_schema")?.as_object() } else { None }
}

/// The text of a message: parts are joined without anything between them.
pub(super) fn content(message: &Value) -> Cow<'_, str> {
    let texts = texts(message);
    match <[Cow<str>; 1]>::try_from(texts) {
        Ok([text]) => text,
        Err(texts) => Cow::Owned(texts.concat()),
    }
}

/// The same, cut where an image stands between parts. A refusal of the assistant's is text too (12 of 12
/// tokens in 2 of 2).
pub(super) fn texts(message: &Value) -> Vec<Cow<'_, str>> {
    let mut texts = content::texts(message.get("content"), |part| picture(part).is_some());
    texts.extend(Some(text(message, "refusal")).filter(|refusal| !refusal.is_empty()).map(Cow::Borrowed));
    texts
}

/// The images of a message: URL and `detail` of each.
pub(super) fn pictures(message: &Value) -> impl Iterator<Item = (&str, &str)> {
    let parts = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(picture)
}

/// URL and `detail` of a part that is an image.
pub(super) fn picture(part: &Value) -> Option<(&str, &str)> {
    if text(part, "type") != "image_url" {
        return None;
    }
    let image = part.get("image_url")?;
    Some((image.as_str().unwrap_or_else(|| text(image, "url")), text(image, "detail")))
}

pub(super) fn role(message: &Value) -> &str {
    text(message, "role")
}

/// The assistant said something and called a function in one message.
pub(super) fn speaks_and_calls(message: &Value) -> bool {
    !calls(message).is_empty() && !content(message).is_empty()
}

/// A text that the assistant said before.
pub(super) fn is_spoken(message: &Value) -> bool {
    role(message) == "assistant" && calls(message).is_empty() && !content(message).is_empty()
}

/// The calls of a message: names and arguments.
pub(super) fn calls(message: &Value) -> Vec<(&str, &str)> {
    let call = |function| (text(function, "name"), text(function, "arguments"));
    if let Some(function) = message.get("function_call").filter(|function| function.is_object()) {
        return vec![call(function)];
    }
    let list = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|entry| entry.get("function")).map(call).collect()
}

/// It has parts that are no text.
pub(super) fn has_media(message: &Value) -> bool {
    let parts = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    parts.iter().any(|part| !matches!(text(part, "type"), "text" | "refusal"))
        || message.get("audio").is_some_and(|audio| !audio.is_null())
}
