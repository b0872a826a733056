//! What of a request is not covered by the recordings that the rules were fitted on. A request
//! without doubts is of a proven class, and its count is called exact.

use serde_json::Value;

use super::request::{calls, content, is_spoken, json_schema, messages, role};
use crate::prompt::model::{Family, Model};
use crate::prompt::tools::Rendered;
use crate::prompt::{Object, text};

/// Top-level keys that cost nothing, or what the rules say.
const KNOWN_KEYS: [&str; 27] = [
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
];

/// Keys of a message that cost nothing, or what the rules say.
const KNOWN_MESSAGE_KEYS: [&str; 8] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "annotations"];

/// The prompt is not in the request: the service searches, and adds what it finds.
pub(super) fn server_state(request: &Object) -> bool {
    request.get("data_sources").is_some_and(|sources| !sources.is_null())
}

/// Reasons why the count may be off; none for a proven class.
pub(super) fn doubts(request: &Object, model: Model, tools: &Rendered) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let mut doubt = |is: bool, reason| {
        if is && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    };
    doubt(!model.proven, "unknown_model");
    for (key, value) in request.iter().filter(|(_, value)| !value.is_null()) {
        doubt(key == "web_search_options", "hosted_tool");
        doubt(key == "prediction", "prediction");
        let named = matches!(key.as_str(), "web_search_options" | "prediction");
        doubt(!named && !KNOWN_KEYS.contains(&key.as_str()), "unknown_fields");
        doubt(key == "tools" && !all(value, |tool| kind(tool) == "function"), "hosted_tool");
        doubt(
            matches!(key.as_str(), "tool_choice" | "function_call") && !is_known_choice(value),
            "unknown_fields",
        );
        let formats = ["text", "json_object", "json_schema"];
        doubt(key == "response_format" && !formats.contains(&kind(value)), "unknown_fields");
    }
    // Of four recordings of gpt-4-0613 with tools two are off.
    let early = model.family == Family::Gpt4Early && !tools.text.is_empty();
    doubt(tools.doubtful || early, "tool_schema");
    let spoken = messages(request).iter().any(is_spoken);
    doubt(json_schema(request).is_some() && (model.family == Family::Gpt5 || spoken), "json_schema");
    doubt(parallel_doubt(messages(request), model), "parallel_calls");
    for message in messages(request) {
        for reason in message_doubts(message) {
            doubt(true, reason);
        }
    }
    reasons
}

/// Calls made together: seen too rarely with gpt-5; and of their results some models escape what is
/// not ASCII and others do not.
fn parallel_doubt(messages: &[Value], model: Model) -> bool {
    let parallel = messages.iter().any(|message| calls(message).len() > 1);
    let results = || messages.iter().filter(|message| role(message) == "tool");
    parallel && (model.family == Family::Gpt5 || results().any(|message| !content(message).is_ascii()))
}

fn kind(value: &Value) -> &str {
    text(value, "type")
}

fn all(list: &Value, is: impl Fn(&Value) -> bool) -> bool {
    list.as_array().is_some_and(|list| list.iter().all(is))
}

fn is_known_choice(choice: &Value) -> bool {
    match choice {
        Value::String(word) => matches!(word.as_str(), "auto" | "none" | "required"),
        choice => choice.get("function").unwrap_or(choice).get("name").is_some_and(Value::is_string),
    }
}

fn message_doubts(message: &Value) -> Vec<&'static str> {
    let Some(members) = message.as_object() else { return vec!["unknown_fields"] };
    let mut reasons = Vec::new();
    let roles = ["system", "developer", "user", "assistant", "tool", "function"];
    if !roles.contains(&role(message)) {
        reasons.push("unknown_fields");
    }
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        match key.as_str() {
            "audio" => reasons.push("audio"),
            // Few recordings have names.
            "name" if !matches!(role(message), "tool" | "function") => reasons.push("message_name"),
            "content" => reasons.extend(content_doubts(value)),
            "tool_calls" if !all(value, |call| call.get("function").is_some()) => {
                reasons.push("unknown_fields")
            }
            key if !KNOWN_MESSAGE_KEYS.contains(&key) => reasons.push("unknown_fields"),
            _ => {}
        }
    }
    reasons
}

fn content_doubts(content: &Value) -> Vec<&'static str> {
    let parts = match content {
        Value::String(_) => return vec![],
        Value::Array(parts) => parts,
        _ => return vec!["unknown_fields"],
    };
    let part_doubt = |part: &Value| match kind(part) {
        "text" | "refusal" => None,
        "image_url" => {
            let image = part.get("image_url");
            let url = image.and_then(|image| image.get("url").unwrap_or(image).as_str()).unwrap_or("");
            Some(if url.starts_with("data:") { "image" } else { "remote_image" })
        }
        "input_audio" => Some("audio"),
        "file" => Some("file"),
        _ => Some("unknown_fields"),
    };
    parts.iter().filter_map(part_doubt).collect()
}
