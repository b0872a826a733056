//! The prompt of a chat completion, message by message.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::json::{SPACED_ASCII, compact, parallel, to_string};
use super::model::{Family, Model};
use super::schema::format_text;
use super::tools::{Rendered, render};
use crate::tokens::count;

/// A JSON object of the request.
pub(super) type Object = Map<String, Value>;

/// Tokens of the request's text. Media are not included.
pub(super) fn tokens(request: &Object, model: Model, tools: &Rendered) -> u64 {
    let chat = Chat::new(request, model);
    let frame: i64 = if model.short_start { 2 } else { 3 };
    let sum = frame + chat.system(tools) + chat.messages() + chat.choice();
    u64::try_from(sum).unwrap_or(0)
}

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
pub(super) fn tools_text(request: &Object) -> Rendered {
    let functions = functions(request);
    if functions.is_empty() { Rendered::default() } else { render(&functions) }
}

/// The messages of a request.
pub(super) fn messages(request: &Object) -> &[Value] {
    request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The `json_schema` that the answer must follow.
pub(super) fn json_schema(request: &Object) -> Option<&Object> {
    let format = request.get("response_format")?;
    if text(format, "type") == "json_schema" { format.get("json_schema")?.as_object() } else { None }
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The text of a `content`: parts are joined without anything between them.
pub(super) fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let part_text = |part| match text(part, "text") {
                "" => text(part, "refusal"),
                text => text,
            };
            parts.iter().map(part_text).collect()
        }
        _ => String::new(),
    }
}

pub(super) fn role(message: &Value) -> &str {
    text(message, "role")
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

/// A result in a list of results: JSON objects and arrays stand in it as such.
fn result(content: String) -> Value {
    match serde_json::from_str(&content) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(content),
    }
}

/// Which message asked for what is answered later, by `tool_call_id`.
#[derive(Debug, Default)]
struct History<'a> {
    /// Names of the functions called.
    names: HashMap<&'a str, &'a str>,
    /// Of calls that were made together: the place of their message.
    group: HashMap<&'a str, usize>,
    /// The answers to those, by that place.
    answers: HashMap<usize, Vec<Value>>,
}

impl<'a> History<'a> {
    fn of(messages: &'a [Value], grouped: bool) -> History<'a> {
        let mut history = History::default();
        for (place, message) in messages.iter().enumerate() {
            let list = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice);
            for entry in list.unwrap_or_default() {
                let id = text(entry, "id");
                if let Some(function) = entry.get("function") {
                    history.names.insert(id, text(function, "name"));
                }
                if grouped && list.is_some_and(|list| list.len() > 1) {
                    history.group.insert(id, place);
                }
            }
        }
        for message in messages.iter().filter(|message| role(message) == "tool") {
            if let Some(place) = history.group.get(text(message, "tool_call_id")) {
                history.answers.entry(*place).or_default().push(result(content(message)));
            }
        }
        history
    }
}

struct Chat<'a> {
    request: &'a Object,
    model: Model,
    messages: &'a [Value],
    functions: Vec<&'a Object>,
    schema: Option<&'a Object>,
}

impl<'a> Chat<'a> {
    fn new(request: &'a Object, model: Model) -> Chat<'a> {
        Chat {
            request,
            model,
            messages: messages(request),
            functions: functions(request),
            schema: json_schema(request),
        }
    }

    fn n(&self, text: &str) -> i64 {
        i64::try_from(count(self.model.encoding, text)).unwrap_or(i64::MAX)
    }

    fn is_gpt5(&self) -> bool {
        self.model.family == Family::Gpt5
    }

    /// The first message is one that tools and schema are joined to.
    fn has_system(&self) -> bool {
        self.messages.first().is_some_and(|first| matches!(role(first), "system" | "developer"))
    }

    /// The system message: the request's own, with tools and schema joined to it, or one for them.
    fn system(&self, tools: &Rendered) -> i64 {
        let mut parts = Vec::new();
        let mut constant = 0;
        if self.has_system() {
            parts.push(content(&self.messages[0]));
        }
        if let Some(first) = self.functions.first() {
            parts.push(tools.text.clone());
            constant += match self.model.family {
                Family::Classic | Family::Gpt4Early => -1,
                Family::OSeries => 0,
                // A hidden preamble.
                Family::Gpt5 => {
                    let described =
                        first.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
                    (if self.has_system() { 84 } else { 81 }) - i64::from(!described)
                }
            };
        }
        if let Some(schema) = self.schema {
            parts.push(format_text(schema));
            if self.functions.is_empty() {
                let name = schema.get("name").and_then(Value::as_str).unwrap_or("");
                constant += self.n(name) + 2;
            }
        }
        if parts.is_empty() {
            return 0;
        }
        // Joined before it is counted: a full stop and the line ends after it are one token.
        let joined = parts.join("\n\n");
        let first = self.has_system().then(|| &self.messages[0]);
        constant + self.plain(first.map_or("system", role), &joined, first)
    }

    /// All messages but a leading system message.
    fn messages(&self) -> i64 {
        let history = History::of(self.messages, !self.is_gpt5());
        let mut answered = Vec::new();
        let mut sum = 0;
        for message in &self.messages[usize::from(self.has_system())..] {
            let calls = calls(message);
            sum += if !calls.is_empty() {
                self.calling(&content(message), &calls)
            } else if matches!(role(message), "tool" | "function") {
                self.answering(message, &history, &mut answered)
            } else {
                self.plain(role(message), &content(message), Some(message)) + self.answered_in_schema(message)
            };
        }
        sum
    }

    fn plain(&self, role: &str, content: &str, message: Option<&Value>) -> i64 {
        // gpt-5 marks the channel of what it said before.
        let channel = if self.is_gpt5() && role == "assistant" { 2 } else { 0 };
        let name = match message.map_or("", |message| text(message, "name")) {
            "" => 0,
            name if name == role => self.n(name),
            name => self.n(name) + 1,
        };
        3 + self.n(role) + self.n(content) + channel + name
    }

    /// What the assistant said before costs 4 more where a JSON schema is asked for (4 of 4 recordings).
    fn answered_in_schema(&self, message: &Value) -> i64 {
        let classic = matches!(self.model.family, Family::Classic | Family::Gpt4Early);
        if classic && self.schema.is_some() && is_spoken(message) { 4 } else { 0 }
    }

    /// A message of the assistant that calls: several calls are one call to an internal wrapper, but
    /// for gpt-5.
    fn calling(&self, content: &str, calls: &[(&str, &str)]) -> i64 {
        let mut sum = self.n(content);
        if calls.len() > 1 && !self.is_gpt5() {
            let wrapped = self.n(&parallel(calls.iter().copied()));
            return sum + 4 + self.n(" to=multi_tool_use.parallel") + wrapped;
        }
        if self.is_gpt5() {
            sum += if content.is_empty() { 6 } else { 12 };
        }
        for (name, arguments) in calls {
            sum += 4 + self.n(&format!(" to=functions.{name}")) + self.n(&compact(arguments));
        }
        sum
    }

    /// The result of a call. Results of calls that were made together are one message, a list.
    fn answering(&self, message: &Value, history: &History<'_>, answered: &mut Vec<usize>) -> i64 {
        let id = text(message, "tool_call_id");
        let group = if role(message) == "tool" { history.group.get(id) } else { None };
        let Some(place) = group else {
            let name = match text(message, "name") {
                "" => history.names.get(id).copied().unwrap_or(""),
                name => name,
            };
            return 6 + self.n(name) + self.n(&content(message));
        };
        if answered.contains(place) {
            return 0;
        }
        answered.push(*place);
        let list = Value::Array(history.answers.get(place).cloned().unwrap_or_default());
        10 + self.n(&to_string(&list, SPACED_ASCII))
    }

    /// `tool_choice`: a named function is written into the start of the answer.
    fn choice(&self) -> i64 {
        let given = |key| self.request.get(key).filter(|value| !value.is_null() && *value != "");
        let Some(choice) = given("tool_choice").or_else(|| given("function_call")) else { return 0 };
        if self.is_gpt5() {
            return 0;
        }
        if choice.is_object() {
            return match text(choice.get("function").unwrap_or(choice), "name") {
                "" => 0,
                name => self.n(&format!(" to=functions.{name}")) + 4,
            };
        }
        i64::from(choice == "none" && !self.functions.is_empty())
    }
}
