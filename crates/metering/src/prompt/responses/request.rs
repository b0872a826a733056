//! Looks into a Responses request: each part is found by its name, and absent ones are empty.

use std::borrow::Cow;

use serde_json::Value;

use crate::prompt::content;
use crate::prompt::object::{Object, text};
use crate::prompt::tools::{Dialect, Rendered, render};

/// The functions that a request offers. Here they are flat: name and parameters stand beside `type`.
pub(super) fn functions(request: &Object) -> Vec<&Object> {
    let is_function = |tool: &&Value| text(tool, "type") == "function";
    tools(request).iter().filter(is_function).filter_map(Value::as_object).collect()
}

/// Everything in `tools`.
pub(super) fn tools(request: &Object) -> &[Value] {
    list(request.get("tools"))
}

/// The tools text; empty if no function is offered.
pub(super) fn tools_text(request: &Object) -> Rendered {
    let functions = functions(request);
    if functions.is_empty() { Rendered::default() } else { render(&functions, Dialect::Responses) }
}

/// The items of `input`; a text is none.
pub(super) fn items(request: &Object) -> &[Value] {
    list(request.get("input"))
}

/// The `input` that is a text: one message of the user.
pub(super) fn input_text(request: &Object) -> Option<&str> {
    request.get("input").and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `instructions`: the first system message.
pub(super) fn instructions(request: &Object) -> Option<&str> {
    request.get("instructions").and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `text.format`, if it is a JSON schema that the response must follow.
pub(super) fn json_schema(request: &Object) -> Option<&Object> {
    let format = request.get("text")?.get("format")?;
    if text(format, "type") == "json_schema" { format.as_object() } else { None }
}

/// The function that the response must call: named, or the only one where one is required.
pub(super) fn forced_function(request: &Object) -> Option<&str> {
    let choice = request.get("tool_choice")?;
    let functions = functions(request);
    let name = match (choice.as_str(), tools(request), functions.as_slice()) {
        (Some("required"), [_], [function]) => function.get("name").and_then(Value::as_str)?,
        (None, _, _) if text(choice, "type") == "function" => text(choice, "name"),
        _ => "",
    };
    (!name.is_empty()).then_some(name)
}

/// The type of an item; without `type` it is a message.
pub(super) fn kind(item: &Value) -> &str {
    match item.get("type") {
        Some(Value::String(kind)) => kind,
        None | Some(Value::Null) => "message",
        Some(_) => "",
    }
}

pub(super) fn role(item: &Value) -> &str {
    text(item, "role")
}

/// The texts of a `content` or `output`, cut where an image stands between parts.
pub(super) fn texts(content: Option<&Value>) -> Vec<Cow<'_, str>> {
    content::texts(content, |part| picture(part).is_some())
}

/// The images of an item, in what it says or answers: URL and `detail` of each.
pub(super) fn pictures(item: &Value) -> impl Iterator<Item = (&str, &str)> {
    let parts = [item.get("content"), item.get("output")].into_iter().flat_map(list);
    parts.filter_map(picture)
}

/// URL and `detail` of a part that is an image.
fn picture(part: &Value) -> Option<(&str, &str)> {
    (text(part, "type") == "input_image").then(|| (text(part, "image_url"), text(part, "detail")))
}

/// A list; anything else is an empty one.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
