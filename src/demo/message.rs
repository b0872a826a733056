//! A fixture's response as Claude would give it on Foundry: one message, or the events of a stream.

use bytes::Bytes;
use serde_json::{Value, json};

use super::dialect::{Dialect, named_event};
use super::fixtures::Fixture;
use super::script::pieces;

/// The model that answers.
const MODEL: &str = "claude-sonnet-5";

/// Of so many tokens of a prompt one is read from a cache.
const CACHED_SHARE: u64 = 4;

/// One response, as a body or a stream.
#[derive(Debug)]
pub(super) struct MessageScript<'a> {
    pub(super) fixture: &'a Fixture,
    /// The number of the call at its service.
    pub(super) call: u64,
}

impl MessageScript<'_> {
    /// The body of a response that is not streamed.
    pub(super) fn body(&self) -> Value {
        self.message(
            json!([{ "type": "text", "text": self.fixture.first_text() }]),
            Some("end_turn"),
            self.output(),
        )
    }

    /// The events of a stream, in order, each with its blank line.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let begins = json!({ "type": "text", "text": "" });
        let mut events = vec![
            json!({ "type": "message_start", "message": self.message(json!([]), None, 1) }),
            json!({ "type": "content_block_start", "index": 0, "content_block": begins }),
            json!({ "type": "ping" }),
        ];
        events.extend(pieces(self.fixture.first_text()).into_iter().map(|piece| {
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": piece } })
        }));
        events.push(json!({ "type": "content_block_stop", "index": 0 }));
        let delta = json!({ "stop_reason": "end_turn" });
        let usage = json!({ "output_tokens": self.output() });
        events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
        let last = Dialect::Messages.last_event();
        events.iter().map(named_event).chain([last]).map(Bytes::from).collect()
    }

    fn output(&self) -> u64 {
        self.fixture.usage.map_or(0, |usage| usage.completion_tokens)
    }

    /// `input_tokens` are those that no cache had.
    fn message(&self, content: Value, stop_reason: Option<&str>, output: u64) -> Value {
        let prompt = self.fixture.usage.map_or(0, |usage| usage.prompt_tokens);
        let cached = prompt / CACHED_SHARE;
        json!({
            "id": format!("msg_{}_{:06}", self.fixture.name, self.call),
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": content,
            "stop_reason": stop_reason,
            "usage": {
                "input_tokens": prompt - cached,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": cached,
                "output_tokens": output,
                "service_tier": "standard",
            },
        })
    }
}
