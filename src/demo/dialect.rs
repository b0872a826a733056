//! The two APIs by which the demo's callers ask and its service answers.

use serde_json::{Value, json};

use super::fixtures::Fixture;

/// `api-version` of the demo's calls.
const API_VERSION: &str = "2024-10-21";

/// The deployment of Claude that callers ask for, and the tokens that they want at most.
const CLAUDE_DEPLOYMENT: &str = "claude-team";
const CLAUDE_TOKENS_MAX: u64 = 512;

/// The API of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Chat completions of Azure OpenAI.
    Chat,
    /// Anthropic's Messages, as Foundry serves Claude.
    Messages,
}

impl Dialect {
    /// That of a path of the service; `None`: it has nothing there.
    pub(super) fn of_path(path: &str) -> Option<Dialect> {
        match () {
            () if path.ends_with("/chat/completions") => Some(Dialect::Chat),
            () if path.ends_with("/anthropic/v1/messages") => Some(Dialect::Messages),
            () => None,
        }
    }

    /// Where a caller asks for a fixture.
    pub(super) fn target(self, fixture: &Fixture) -> String {
        match self {
            Dialect::Chat => format!(
                "/openai/deployments/{}/chat/completions?api-version={API_VERSION}",
                fixture.deployment
            ),
            Dialect::Messages => "/anthropic/v1/messages".to_owned(),
        }
    }

    /// The body of the request for a fixture.
    pub(super) fn request_body(self, fixture: &Fixture, stream: bool, include_usage: bool) -> Vec<u8> {
        match self {
            Dialect::Chat => fixture.request_body(stream, include_usage),
            Dialect::Messages => {
                let mut body: Value = fixture.request.clone();
                body["model"] = CLAUDE_DEPLOYMENT.into();
                body["max_tokens"] = CLAUDE_TOKENS_MAX.into();
                body["stream"] = stream.into();
                body.to_string().into_bytes()
            }
        }
    }

    /// The header of a caller's key.
    pub(super) fn key_header(self) -> &'static str {
        match self {
            Dialect::Chat => "api-key",
            Dialect::Messages => "x-api-key",
        }
    }

    /// How a stream ends that is whole.
    pub(super) fn last_event(self) -> String {
        match self {
            Dialect::Chat => "data: [DONE]\n\n".to_owned(),
            Dialect::Messages => named_event(&json!({ "type": "message_stop" })),
        }
    }
}

/// An event that has the name of its `type`.
pub(super) fn named_event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}
