//! Anthropic's Messages as a service sends them: documents, and events of a stream.

use serde_json::{Value, json};

/// A request for a stream, as Anthropic's clients write it.
pub(crate) const REQUEST: &str = r#"{"max_tokens":64,"messages":[{"role":"user","content":"Name a colour."}],"model":"claude-team","stream":true}"#;

/// All of the prompt in [`begun`].
pub(crate) const INPUT: u64 = 23_012;

/// A usage as a message begins with it.
pub(crate) fn begun() -> Value {
    json!({"input_tokens": 12, "cache_creation_input_tokens": 3000, "cache_read_input_tokens": 20000,
        "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        "output_tokens": 1, "service_tier": "standard", "inference_geo": "us", "server_tool_use": null})
}

/// The same with another number of output tokens.
pub(crate) fn begun_with(output: u64) -> Value {
    let mut usage = begun();
    usage["output_tokens"] = json!(output);
    usage
}

/// A message. `stop_reason`: none before it has ended.
pub(crate) fn message(content: &[Value], stop_reason: Option<&str>, usage: &Value) -> Value {
    json!({"id": "msg_01a", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage})
}

/// An event, which has the name of its type.
pub(crate) fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

pub(crate) fn start(usage: &Value) -> String {
    event(&json!({"type": "message_start", "message": message(&[], None, usage)}))
}

pub(crate) fn ping() -> String {
    event(&json!({"type": "ping"}))
}

/// A block of content, whole: how it begins, and what comes then.
pub(crate) fn block(index: u64, begins: &Value, deltas: &[Value]) -> String {
    let mut events = event(&json!({"type": "content_block_start", "index": index, "content_block": begins}));
    for delta in deltas {
        events += &event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }
    events + &event(&json!({"type": "content_block_stop", "index": index}))
}

pub(crate) fn text_delta(text: &str) -> Value {
    json!({"type": "text_delta", "text": text})
}

/// A block of text in these pieces.
pub(crate) fn text(index: u64, pieces: &[&str]) -> String {
    let deltas: Vec<Value> = pieces.iter().map(|piece| text_delta(piece)).collect();
    block(index, &json!({"type": "text", "text": ""}), &deltas)
}

pub(crate) fn change(usage: &Value) -> String {
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    event(&json!({"type": "message_delta", "delta": delta, "usage": usage}))
}

pub(crate) fn stop() -> String {
    event(&json!({"type": "message_stop"}))
}

pub(crate) fn error(kind: &str, message: &str) -> String {
    event(&json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01a"}))
}

/// A stream up to its text, which has 1 token by what it says.
pub(crate) fn beginning() -> String {
    start(&begun()) + &ping() + &text(0, &["Te", "al."])
}

/// A whole stream of [`INPUT`] and 9 tokens.
pub(crate) fn stream() -> String {
    beginning() + &change(&json!({"output_tokens": 9})) + &stop()
}
