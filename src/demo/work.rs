//! A response that is made in the background, as the Responses API tells of it.

use serde_json::{Value, json};

use super::fixtures::{Fixture, FixtureUsage};

/// Where it is asked for; its id is the next segment.
pub(super) const TARGET: &str = "/openai/v1/responses";

const DONE: &str = "completed";

/// The response is made.
pub(super) fn is_done(response: &Value) -> bool {
    response["status"] == DONE
}

/// The body of the request for a response in the background.
pub(super) fn request_body(fixture: &Fixture) -> Value {
    json!({
        "model": fixture.deployment,
        "input": fixture.request["messages"],
        "background": true,
        "store": true,
    })
}

/// The request of chat completions that asks the same.
pub(super) fn as_chat(request: &Value) -> Value {
    json!({ "messages": request["input"] })
}

/// The response while it is made, and as it is then.
pub(super) fn response(fixture: &Fixture, id: &str, created: i64, is_done: bool) -> Value {
    let text = fixture.first_text();
    let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
    let message = json!({ "type": "message", "role": "assistant", "status": DONE, "content": content });
    json!({
        "id": id,
        "object": "response",
        "created_at": created,
        "status": if is_done { DONE } else { "in_progress" },
        "background": true,
        "error": null,
        "model": fixture.model,
        "output": if is_done { json!([message]) } else { json!([]) },
        "store": true,
        "usage": fixture.usage.filter(|_| is_done).map(usage),
    })
}

/// A usage as it is spelled there and in the Realtime API.
pub(super) fn usage(usage: FixtureUsage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    })
}
