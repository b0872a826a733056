//! The fixtures of the replaying service: prompts and responses of our own, one JSON file each.
//!
//! The files lie in `fixtures/demo/`. Their `usage` was made with a reference implementation of the
//! service's rules that shares no code with this crate, for a service that bills the end-of-turn
//! token. So where the sidecar computes and the service would have reported, two independent
//! counts meet.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The members of a request that decide what its prompt costs. A request that differs from a
/// fixture in one of them has another `usage`, so it is not that fixture's request.
const PRICED_KEYS: [&str; 7] =
    ["messages", "tools", "tool_choice", "functions", "function_call", "response_format", "n"];

const FILES: [&str; 15] = [
    include_str!("../../fixtures/demo/boathouse-draft.json"),
    include_str!("../../fixtures/demo/claim-summary.json"),
    include_str!("../../fixtures/demo/leave-carry-over.json"),
    include_str!("../../fixtures/demo/library-hours.json"),
    include_str!("../../fixtures/demo/night-report.json"),
    include_str!("../../fixtures/demo/parcel-cut.json"),
    include_str!("../../fixtures/demo/parts-found.json"),
    include_str!("../../fixtures/demo/prompt-blocked.json"),
    include_str!("../../fixtures/demo/refused-record.json"),
    include_str!("../../fixtures/demo/review-note.json"),
    include_str!("../../fixtures/demo/shop-busy.json"),
    include_str!("../../fixtures/demo/tea-house.json"),
    include_str!("../../fixtures/demo/two-parts.json"),
    include_str!("../../fixtures/demo/two-slogans.json"),
    include_str!("../../fixtures/demo/work-order.json"),
];

/// One exchange: the request that it answers, and either choices or an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Unique; part of the response's `id`.
    pub name: String,
    /// The deployment that callers of the demo ask for.
    pub deployment: String,
    /// The model that the response names.
    pub model: String,
    /// The request body without `model`, `stream` and `stream_options`.
    pub request: Value,
    /// The response; empty where `error` is set.
    #[serde(default)]
    pub choices: Vec<FixtureChoice>,
    /// The usage that the service reports for it.
    pub usage: Option<FixtureUsage>,
    /// How a stream is cut into writes.
    #[serde(default)]
    pub delivery: Delivery,
    /// A response that is not 200.
    pub error: Option<FixtureRefusal>,
}

/// One choice of a response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureChoice {
    /// The whole message; streams carry it in pieces.
    pub message: FixtureMessage,
    /// Why it ended.
    pub finish_reason: String,
}

/// An assistant's message, as `choices[].message` has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureMessage {
    /// Always `assistant`.
    pub role: String,
    /// The text.
    pub content: Option<String>,
    /// The text of a refusal.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Calls of tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// One call of a tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its id.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The function that is called.
    pub function: Function,
}

/// The function of a tool call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
}

/// The `usage` of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct FixtureUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of all choices.
    pub completion_tokens: u64,
}

/// How a stream is cut into writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// Events in one write.
    pub burst: usize,
    /// Asynchronous content filter: annotations come as events of their own, without `delta`.
    pub async_filter: bool,
    /// The connection breaks after so many events.
    pub cut_after: Option<usize>,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery { burst: 1, async_filter: false, cut_after: None }
    }
}

/// A response that is not 200.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureRefusal {
    /// HTTP status.
    pub status: u16,
    /// The header `retry-after-ms`.
    pub retry_after_ms: Option<u64>,
    /// The body.
    pub body: Value,
}

/// All fixtures.
#[derive(Debug)]
pub struct Fixtures(Vec<Fixture>);

impl Fixtures {
    /// Reads the files that are built in.
    ///
    /// # Errors
    /// One of them does not parse; a test proves that none does.
    pub fn load() -> serde_json::Result<Fixtures> {
        FILES.iter().map(|file| serde_json::from_str(file)).collect::<Result<_, _>>().map(Fixtures)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fixture> {
        self.0.iter()
    }

    /// The fixture of this name.
    pub fn named(&self, name: &str) -> Option<&Fixture> {
        self.iter().find(|fixture| fixture.name == name)
    }

    /// The fixture that answers this request body.
    pub fn answering(&self, request: &Value) -> Option<&Fixture> {
        self.iter()
            .find(|fixture| PRICED_KEYS.iter().all(|&key| fixture.request.get(key) == request.get(key)))
    }

    /// The fixture that the response with this `id` came from.
    pub fn of_answer(&self, id: &str) -> Option<&Fixture> {
        let (name, _number) = id.strip_prefix("chatcmpl-")?.rsplit_once('-')?;
        self.named(name)
    }
}

impl Fixture {
    /// The body of a caller's request: as the fixture has it, streamed or not.
    pub fn request_body(&self, stream: bool, include_usage: bool) -> Vec<u8> {
        let mut body = self.request.clone();
        if stream {
            body["stream"] = true.into();
        }
        if include_usage {
            body["stream_options"] = serde_json::json!({ "include_usage": true });
        }
        body.to_string().into_bytes()
    }

    /// The text of the first choice.
    pub fn first_text(&self) -> &str {
        let first = self.choices.first();
        first.and_then(|choice| choice.message.content.as_deref()).unwrap_or_default()
    }

    /// The `id` of the response to the service's call number `call`.
    pub fn answer_id(&self, call: u64) -> String {
        format!("chatcmpl-{}-{call:06}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use metering::tokens::{Encoding, count};

    #[test]
    fn every_file_parses_and_says_one_thing() {
        let fixtures = Fixtures::load().unwrap();
        let names: BTreeSet<_> = fixtures.iter().map(|fixture| &fixture.name).collect();
        assert_eq!(names.len(), FILES.len(), "names are unique");
        for fixture in fixtures.iter() {
            let name = &fixture.name;
            assert_eq!(fixture.error.is_some(), fixture.choices.is_empty(), "{name}: answer or error");
            assert_eq!(fixture.error.is_none(), fixture.usage.is_some(), "{name}: an answer has a usage");
            assert!(fixture.delivery.burst > 0, "{name}: a write holds at least one event");
        }
    }

    #[test]
    fn every_request_finds_its_own_fixture() {
        let fixtures = Fixtures::load().unwrap();
        for fixture in fixtures.iter() {
            let body: Value = serde_json::from_slice(&fixture.request_body(true, true)).unwrap();
            assert_eq!(fixtures.answering(&body).unwrap().name, fixture.name);
            assert_eq!(fixtures.of_answer(&fixture.answer_id(7)).unwrap().name, fixture.name);
        }
        let mut dearer = fixtures.named("library-hours").unwrap().request.clone();
        dearer["n"] = 2.into();
        assert!(fixtures.answering(&dearer).is_none(), "another n has another usage");
    }

    /// The rules for plain text (classic models, a service that bills the end of a turn):
    /// a prompt is 3, and 3 and the role and the content per message; a response is its text and 1.
    #[test]
    fn the_usage_of_plain_text_is_what_the_rules_say() {
        let fixtures = Fixtures::load().unwrap();
        let mut checked = 0;
        for fixture in fixtures.iter() {
            let request = &fixture.request;
            let tools = request.get("tools").or(request.get("response_format"));
            let (Some(usage), None) = (fixture.usage, tools) else { continue };
            let encoding = match fixture.model.starts_with("gpt-4-") {
                true => Encoding::Cl100kBase,
                false => Encoding::O200kBase,
            };
            let messages = request["messages"].as_array().unwrap();
            let prompt: u64 =
                messages.iter().map(|m| 3 + 1 + count(encoding, m["content"].as_str().unwrap())).sum();
            let answer =
                |choice: &FixtureChoice| 1 + count(encoding, choice.message.content.as_ref().unwrap());
            assert_eq!(usage.prompt_tokens, 3 + prompt, "{}", fixture.name);
            assert_eq!(
                usage.completion_tokens,
                fixture.choices.iter().map(answer).sum::<u64>(),
                "{}",
                fixture.name
            );
            checked += 1;
        }
        assert!(checked >= 8, "only {checked} fixtures are plain text");
    }
}
