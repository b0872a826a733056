//! Finds what a Responses request has that the recordings behind the rules do not cover. A
//! request without doubts is of a proven class, and its count is called exact.

use std::collections::HashSet;

use serde_json::Value;

use super::request::{forced_function, items, json_schema, kind, list, pictures, role, texts, tools};
use crate::prompt::image::image;
use crate::prompt::model::{Model, Proof};
use crate::prompt::object::{Object, text};
use crate::prompt::schema;
use crate::prompt::tools::Rendered;
use crate::usage::Reason;

/// Top-level keys that cost nothing, or what the rules say.
const KNOWN_KEYS: [&str; 31] = [
    "model",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_logprobs",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "parallel_tool_calls",
    "include",
    "reasoning",
    "text",
    "tools",
    "tool_choice",
    "truncation",
    "background",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
    // It has a reason of its own.
    "context_management",
    // Read by [`server_state`].
    "previous_response_id",
    "conversation",
    "prompt",
];

/// Keys of a message that cost nothing, or what the rules say.
const KNOWN_MESSAGE_KEYS: [&str; 6] = ["type", "role", "content", "id", "status", "phase"];

/// Keys of calls and results.
const KNOWN_CALL_KEYS: [&str; 7] = ["type", "id", "call_id", "name", "arguments", "output", "status"];

/// Keys of `reasoning`. `mode` is not among them: `pro` adds more than a thousand tokens.
const KNOWN_REASONING_KEYS: [&str; 4] = ["effort", "summary", "generate_summary", "context"];

/// Most of the prompt is with the service.
pub(super) fn server_state(request: &Object) -> bool {
    let given = |key: &str| request.get(key).is_some_and(|value| !value.is_null() && value != "");
    given("previous_response_id")
        || given("conversation")
        || given("prompt")
        || items(request).iter().any(|item| kind(item) == "item_reference")
}

/// It has parts that are no text.
pub(super) fn has_media(item: &Value) -> bool {
    let parts = [item.get("content"), item.get("output")].into_iter().flat_map(list);
    parts.into_iter().any(|part| matches!(text(part, "type"), "input_image" | "input_file" | "input_audio"))
}

/// Reasons why the count may be off; none for a proven class.
pub(super) fn reasons(request: &Object, model: Model, tools_text: &Rendered) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut doubt = |is: bool, reason| {
        if is && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    };
    let frames = model.frames;
    let calls = !tools(request).is_empty() || items(request).iter().any(is_of_calls);
    let needed = if calls || json_schema(request).is_some() { Proof::Functions } else { Proof::Texts };
    doubt(model.responses < needed, Reason::UnknownModel);
    doubt(request.get("context_management").is_some_and(|value| !value.is_null()), Reason::Compaction);
    doubt(
        request.iter().any(|(key, value)| !value.is_null() && !is_known(key, value)),
        Reason::UnknownFields,
    );
    let offers = |is: fn(&str) -> bool| tools(request).iter().any(|tool| is(text(tool, "type")));
    doubt(offers(|kind| !matches!(kind, "function" | "custom")), Reason::HostedTool);
    // The caller's own; how it is written into the prompt two recordings of one prompt do not show.
    doubt(offers(|kind| kind == "custom"), Reason::CustomTool);
    doubt(tools_text.doubtful, Reason::ToolSchema);
    // gpt-5-nano was shown 78 tokens more (3 of 3), other models of its kind have not been recorded.
    let single = request.get("parallel_tool_calls").is_some_and(|allowed| *allowed == Value::Bool(false));
    doubt(single && frames.thinks && !tools_text.text.is_empty(), Reason::ParallelCalls);
    // Too few have been recorded, and of six of gpt-5 one is off.
    doubt(forced_function(request).is_some(), Reason::NamedToolChoice);
    let none = request.get("tool_choice").is_some_and(|choice| choice == "none");
    doubt(none && frames.begins_schema && !tools_text.text.is_empty(), Reason::ToolChoice);
    // Earlier texts of the assistant cost more there in chats; here no recording has them.
    let spoken = |item: &Value| role(item) == "assistant" && !texts(item.get("content")).concat().is_empty();
    let schema = json_schema(request);
    doubt(schema.is_some() && items(request).iter().any(spoken), Reason::JsonSchema);
    doubt(schema.is_some_and(|format| !is_proven_schema(format)), Reason::JsonSchema);
    for reason in history_reasons(request, model) {
        doubt(true, reason);
    }
    for item in items(request) {
        for reason in item_reasons(item) {
            doubt(true, reason);
        }
        for (source, detail) in pictures(item) {
            let unknown = source.is_empty().then_some(Reason::File);
            if let Some(reason) = unknown.or(image(source, detail, model.images).doubt) {
                doubt(true, reason);
            }
        }
    }
    reasons
}

/// It calls, or answers a call.
fn is_of_calls(item: &Value) -> bool {
    !matches!(kind(item), "message" | "reasoning")
}

/// Beside what a chat has, the format says its own type.
fn is_proven_schema(format: &Object) -> bool {
    let rest = format.iter().filter(|(key, _)| *key != "type");
    schema::is_proven(&rest.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// A top-level key whose value we know the price of.
fn is_known(key: &str, value: &Value) -> bool {
    match key {
        "input" => value.is_string() || value.is_array(),
        "instructions" => value.is_string(),
        "truncation" => value == "disabled",
        "tools" => value.is_array(),
        "reasoning" => has_only(value, &KNOWN_REASONING_KEYS),
        "text" => {
            let format = value.get("format").filter(|format| !format.is_null());
            let format = format.map_or("text", |format| text(format, "type"));
            has_only(value, &["format", "verbosity"])
                && matches!(format, "text" | "json_object" | "json_schema")
        }
        "tool_choice" => match value.as_str() {
            Some(word) => matches!(word, "auto" | "none" | "required"),
            None => text(value, "type") == "function",
        },
        key => KNOWN_KEYS.contains(&key),
    }
}

fn has_only(object: &Value, keys: &[&str]) -> bool {
    object.as_object().is_some_and(|members| {
        members.iter().all(|(key, value)| value.is_null() || keys.contains(&key.as_str()))
    })
}

/// Calls that are sent back.
fn history_reasons(request: &Object, model: Model) -> Vec<Reason> {
    let items = items(request);
    let is_call = |item: &&Value| kind(item) == "function_call";
    let mut reasons = Vec::new();
    let adjacent = items.windows(2).any(|pair| pair.iter().all(|item| kind(item) == "function_call"));
    // Classic models have each on its own (4 of 4 rows without the service's ids).
    let classic = !model.frames.thinks && !model.frames.early;
    if adjacent && !classic {
        reasons.push(Reason::ParallelCalls);
    }
    // Before gpt-5.4, few rows have the service's own ids, and few of gpt-5 have none.
    let own_id = items.iter().filter(is_call).any(|item| !text(item, "id").is_empty());
    let called = items.iter().any(|item| is_call(&item));
    if called && !model.frames.wraps_calls && (own_id || !classic || model.wraps_one) {
        reasons.push(Reason::ReplayedCall);
    }
    let ids: HashSet<_> = items.iter().filter(is_call).map(|item| text(item, "call_id")).collect();
    let mut results = items.iter().filter(|item| kind(item) == "function_call_output");
    if results.any(|item| !ids.contains(text(item, "call_id"))) {
        reasons.push(Reason::UnknownFields);
    }
    reasons
}

fn item_reasons(item: &Value) -> Vec<Reason> {
    if !item.is_object() {
        return vec![Reason::UnknownFields];
    }
    match kind(item) {
        "message" => {
            let roles = ["system", "developer", "user", "assistant"];
            let known = has_only(item, &KNOWN_MESSAGE_KEYS) && roles.contains(&role(item));
            let mut reasons = content_reasons(item.get("content"));
            reasons.extend((!known).then_some(Reason::UnknownFields));
            reasons
        }
        "function_call" if has_only(item, &KNOWN_CALL_KEYS) => vec![],
        "function_call_output" if has_only(item, &KNOWN_CALL_KEYS) => {
            let mut reasons = content_reasons(item.get("output"));
            // Lists of texts have not been recorded.
            reasons.extend(item.get("output").is_some_and(Value::is_array).then_some(Reason::UnknownFields));
            reasons
        }
        "function_call" | "function_call_output" => vec![Reason::UnknownFields],
        "reasoning" => vec![Reason::ReasoningItems],
        "compaction" => vec![Reason::Compaction],
        "additional_tools" => vec![Reason::HostedTool],
        "custom_tool_call" | "custom_tool_call_output" => vec![Reason::CustomTool],
        kind if is_hosted(kind) => vec![Reason::HostedTool],
        _ => vec![Reason::UnknownFields],
    }
}

/// Calls of tools that the service runs, their results, and what belongs to them:
/// `web_search_call`, `mcp_list_tools`, `local_shell_call_output`, `mcp_approval_request`.
fn is_hosted(kind: &str) -> bool {
    kind.ends_with("_call") || kind.ends_with("_output") || kind.starts_with("mcp_")
}

fn content_reasons(content: Option<&Value>) -> Vec<Reason> {
    let parts = match content {
        Some(Value::String(_)) => return vec![],
        // One of nine is off, and all are of one program.
        Some(Value::Array(parts)) if parts.is_empty() => return vec![Reason::EmptyMessage],
        Some(Value::Array(parts)) => parts,
        _ => return vec![Reason::UnknownFields],
    };
    parts.iter().filter_map(part_doubt).collect()
}

fn part_doubt(part: &Value) -> Option<Reason> {
    match text(part, "type") {
        "input_text" | "output_text" | "text" | "refusal" => None,
        // Its price says how sure it is.
        "input_image" => None,
        "input_audio" => Some(Reason::Audio),
        "input_file" => Some(Reason::File),
        _ => Some(Reason::UnknownFields),
    }
}
