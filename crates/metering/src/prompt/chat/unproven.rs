//! Finds what a request has that the recordings behind the rules do not cover. A request
//! without doubts is of a proven class, and its count is called exact.
//!
//! Everything is looked at, down to the keys of the parts of a message: a key that was never recorded may
//! cost something. `null` is as good as absent.

use serde_json::Value;

use super::request::{calls, content, functions, json_schema, messages, picture, role, speaks_and_calls};
use crate::prompt::image::image;
use crate::prompt::model::{Model, Proof};
use crate::prompt::object::{Object, text};
use crate::prompt::schema;
use crate::prompt::tools::Rendered;
use crate::usage::Reason;

/// Top-level keys that cost nothing, or what the rules say: seen in recordings, or documented as
/// nothing that the model is shown.
const KNOWN_KEYS: [&str; 31] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "n",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
    "seed",
    "parallel_tool_calls",
    "response_format",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "service_tier",
    "store",
    "metadata",
    "reasoning_effort",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "safety_identifier",
];

/// Keys of a message that cost nothing, or what the rules say, or have a doubt of their own.
const KNOWN_MESSAGE_KEYS: [&str; 9] = [
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "refusal",
    "annotations",
    "audio",
];

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// The prompt is not in the request: the service searches, and adds what it finds.
pub(super) fn server_state(request: &Object) -> bool {
    request.get("data_sources").is_some_and(|sources| !sources.is_null())
}

/// Reasons why the count may be off; none for a proven class.
pub(super) fn reasons(request: &Object, model: Model, tools: &Rendered) -> Vec<Reason> {
    let mut doubts = Doubts { model, reasons: Vec::new() };
    let frames = model.frames;
    let called = !functions(request).is_empty() || messages(request).iter().any(is_of_calls);
    let needed = if called || json_schema(request).is_some() { Proof::Functions } else { Proof::Texts };
    doubts.add_if(model.chat < needed, Reason::UnknownModel);
    // Of four recordings of gpt-4-0613 with tools two are exact without the rules made for the others.
    let early = frames.early && !tools.text.is_empty();
    doubts.add_if(tools.doubtful || early, Reason::ToolSchema);
    doubts.keys(request);
    // Few recordings have a schema in a chat with a model that thinks.
    let proven = |format| !frames.thinks && !frames.early && schema::is_proven(format);
    doubts.add_if(json_schema(request).is_some_and(|format| !proven(format)), Reason::JsonSchema);
    doubts.add_if(parallel_doubt(messages(request), model), Reason::ParallelCalls);
    // Azure's chats of o4-mini are billed 3 less for a call that is sent back, and o3-mini's, too.
    let called = messages(request).iter().any(|message| !calls(message).is_empty());
    doubts.add_if(
        called && frames.o_series || messages(request).iter().any(is_rare_history),
        Reason::ToolHistory,
    );
    doubts.add_if(choice_doubt(request, model), Reason::ToolChoice);
    for message in messages(request) {
        doubts.message(message);
    }
    doubts.reasons
}

/// It calls, or answers a call.
fn is_of_calls(message: &Value) -> bool {
    !calls(message).is_empty() || matches!(role(message), "tool" | "function")
}

/// Calls made together: seen of gpt-5 in few programs; and of their results some models escape
/// what is not ASCII and others do not.
fn parallel_doubt(messages: &[Value], model: Model) -> bool {
    let parallel = messages.iter().any(|message| calls(message).len() > 1);
    let results = || messages.iter().filter(|message| role(message) == "tool");
    let frames = model.frames;
    parallel && (frames.thinks || frames.early || results().any(|message| !content(message).is_ascii()))
}

/// The older form of calls, or text and calls in one message: not in any recording at hand.
fn is_rare_history(message: &Value) -> bool {
    let older = message.get("function_call").is_some_and(|call| !call.is_null());
    older || role(message) == "function" || speaks_and_calls(message)
}

/// A function by name has been asked of classic models, gpt-5 and the o-series, `none` of gpt-5 only.
fn choice_doubt(request: &Object, model: Model) -> bool {
    let choices = ["tool_choice", "function_call"].map(|key| request.get(key));
    let any = |is: fn(&Value) -> bool| choices.iter().flatten().any(|choice| is(choice));
    let offered = !functions(request).is_empty();
    let gpt5 = model.frames.thinks && !model.frames.o_series;
    any(Value::is_object) && model.frames.early || offered && !gpt5 && any(|choice| choice == "none")
}

fn has_only(members: &Object, keys: &[&str]) -> bool {
    members.iter().all(|(key, value)| value.is_null() || keys.contains(&key.as_str()))
}

/// An object with no other keys than these.
fn is_plain(value: &Value, keys: &[&str]) -> bool {
    value.as_object().is_some_and(|members| has_only(members, keys))
}

/// Each reason once.
struct Doubts {
    model: Model,
    reasons: Vec<Reason>,
}

impl Doubts {
    fn add_if(&mut self, is: bool, reason: Reason) {
        if is && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// A value that must be an object with no other keys than these.
    fn plain(&mut self, value: &Value, keys: &[&str]) {
        self.add_if(!is_plain(value, keys), Reason::UnknownFields);
    }

    fn keys(&mut self, request: &Object) {
        for (key, value) in request.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "web_search_options" => self.add_if(true, Reason::HostedTool),
                "prediction" => self.add_if(true, Reason::Prediction),
                "tools" => self.tools(value),
                "tool_choice" | "function_call" => {
                    self.add_if(!is_known_choice(value), Reason::UnknownFields)
                }
                "response_format" => {
                    let formats = ["text", "json_object", "json_schema"];
                    self.plain(value, &["type", "json_schema"]);
                    self.add_if(!formats.contains(&text(value, "type")), Reason::UnknownFields);
                }
                key => self.add_if(!KNOWN_KEYS.contains(&key), Reason::UnknownFields),
            }
        }
    }

    fn tools(&mut self, tools: &Value) {
        let Value::Array(tools) = tools else { return self.add_if(true, Reason::UnknownFields) };
        for tool in tools {
            match text(tool, "type") {
                "function" => self.plain(tool, &["type", "function"]),
                // The caller's own; how it is written into the prompt no recording shows.
                "custom" => self.add_if(true, Reason::CustomTool),
                _ => self.add_if(true, Reason::HostedTool),
            }
        }
    }

    fn message(&mut self, message: &Value) {
        self.plain(message, &KNOWN_MESSAGE_KEYS);
        self.add_if(!ROLES.contains(&role(message)), Reason::UnknownFields);
        let Value::Object(members) = message else { return };
        for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "audio" => self.add_if(true, Reason::Audio),
                "content" => self.content(value),
                "function_call" => self.plain(value, &["name", "arguments"]),
                "tool_calls" => self.calls(value),
                "name" => self.add_if(!value.is_string(), Reason::UnknownFields),
                _ => {}
            }
        }
    }

    fn calls(&mut self, calls: &Value) {
        let is_known = |call: &Value| {
            let function = call.get("function").is_some_and(|call| is_plain(call, &["name", "arguments"]));
            function && is_plain(call, &["id", "type", "index", "function"])
        };
        let known = calls.as_array().is_some_and(|calls| calls.iter().all(is_known));
        self.add_if(!known, Reason::UnknownFields);
    }

    fn content(&mut self, content: &Value) {
        match content {
            Value::String(_) => {}
            Value::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            _ => self.add_if(true, Reason::UnknownFields),
        }
    }

    fn part(&mut self, part: &Value) {
        match text(part, "type") {
            "text" => self.plain(part, &["type", "text"]),
            "refusal" => self.plain(part, &["type", "refusal"]),
            "image_url" => {
                self.plain(part, &["type", "image_url"]);
                let (source, detail) = picture(part).unwrap_or_default();
                if let Some(doubt) = image(source, detail, self.model.images).doubt {
                    self.add_if(true, doubt);
                }
            }
            "input_audio" => self.add_if(true, Reason::Audio),
            "file" => self.add_if(true, Reason::File),
            _ => self.add_if(true, Reason::UnknownFields),
        }
    }
}

/// A word, a function by name, or in the older form the name alone.
fn is_known_choice(choice: &Value) -> bool {
    match choice {
        Value::String(word) => matches!(word.as_str(), "auto" | "none" | "required"),
        choice => {
            let function = match text(choice, "type") {
                "function" => choice.get("function"),
                "" => Some(choice),
                _ => None,
            };
            function.is_some_and(|function| function.get("name").is_some_and(Value::is_string))
        }
    }
}
