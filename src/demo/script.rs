//! A fixture's response as Azure OpenAI would send it: one JSON body, or the events of a stream.
//!
//! Shapes: Azure OpenAI inference specification (chat completions) and the service's documentation
//! of content streaming. A stream must show a meter a first event without choices, events
//! without `delta`, several choices and tool calls side by side, text cut inside words.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fixtures::{Fixture, FixtureMessage, FixtureUsage};

/// The most characters of one delta; longer words are cut.
const PIECE_CHARS_MAX: usize = 7;

/// Deltas between two annotations of the asynchronous content filter.
const DELTAS_PER_ANNOTATION: usize = 12;

const SYSTEM_FINGERPRINT: &str = "fp_tokenweir_demo";

/// One response, as a body or a stream.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) id: String,
    /// Unix seconds.
    pub(super) created: i64,
    /// The request asked for usage in the stream.
    pub(super) include_usage: bool,
}

impl Script<'_> {
    /// The body of a response that is not streamed.
    pub(super) fn body(&self) -> Value {
        let choices: Vec<Value> = (0..)
            .zip(&self.fixture.choices)
            .map(|(index, choice): (u64, _)| {
                json!({
                    "content_filter_results": safe(),
                    "finish_reason": choice.finish_reason,
                    "index": index,
                    "logprobs": null,
                    "message": choice.message,
                })
            })
            .collect();
        json!({
            "choices": choices,
            "created": self.created,
            "id": self.id,
            "model": self.fixture.model,
            "object": "chat.completion",
            "prompt_filter_results": [{ "prompt_index": 0, "content_filter_results": safe() }],
            "system_fingerprint": SYSTEM_FINGERPRINT,
            "usage": self.fixture.usage.map(reported),
        })
    }

    /// The events of a stream, in order, each with its blank line; `[DONE]` is the last.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let mut events = vec![event(&json!({
            "choices": [], "created": 0, "id": "", "model": "", "object": "",
            "prompt_filter_results": [{ "prompt_index": 0, "content_filter_results": safe() }],
        }))];
        self.push_deltas(&mut events);
        for (index, choice) in (0..).zip(&self.fixture.choices) {
            events.push(self.choice(index, json!({}), Some(&choice.finish_reason), json!({})));
        }
        if self.fixture.delivery.async_filter {
            events.push(self.annotation());
        }
        if self.include_usage {
            let mut last = self.chunk(json!([]));
            last["usage"] = self.fixture.usage.map_or(Value::Null, reported);
            events.push(event(&last));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    /// The deltas of all choices, taking turns, as the service sends them for `n` > 1.
    fn push_deltas(&self, events: &mut Vec<Bytes>) {
        let mut choices: Vec<_> =
            self.fixture.choices.iter().map(|choice| deltas(&choice.message).into_iter()).collect();
        let asynchronous = self.fixture.delivery.async_filter;
        let mut sent = 0;
        loop {
            let sent_before = sent;
            for (index, deltas) in (0..).zip(&mut choices) {
                let Some(delta) = deltas.next() else { continue };
                let role_only = delta.get("role").is_some();
                let filter = if asynchronous || role_only { json!({}) } else { safe() };
                events.push(self.choice(index, delta, None, filter));
                sent += 1;
                if asynchronous && sent % DELTAS_PER_ANNOTATION == 0 {
                    events.push(self.annotation());
                }
            }
            if sent == sent_before {
                return;
            }
        }
    }

    fn choice(&self, index: u64, delta: Value, finish_reason: Option<&str>, filter: Value) -> Bytes {
        event(&self.chunk(json!([{
            "content_filter_results": filter,
            "delta": delta,
            "finish_reason": finish_reason,
            "index": index,
            "logprobs": null,
        }])))
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "choices": choices,
            "created": self.created,
            "id": self.id,
            "model": self.fixture.model,
            "object": "chat.completion.chunk",
            "system_fingerprint": SYSTEM_FINGERPRINT,
        });
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// The event of the asynchronous filter: a choice without `delta`, an empty id and model.
    fn annotation(&self) -> Bytes {
        event(&json!({
            "choices": [{
                "content_filter_offsets": { "check_offset": 44, "start_offset": 44, "end_offset": 198 },
                "content_filter_results": safe(),
                "finish_reason": null,
                "index": 0,
            }],
            "created": 0, "id": "", "model": "", "object": "",
        }))
    }
}

fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// The verdict of a content filter that found nothing.
fn safe() -> Value {
    let safe = json!({ "filtered": false, "severity": "safe" });
    json!({ "hate": safe, "self_harm": safe, "sexual": safe, "violence": safe })
}

fn reported(usage: FixtureUsage) -> Value {
    json!({
        "completion_tokens": usage.completion_tokens,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0, "audio_tokens": 0,
            "reasoning_tokens": 0, "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": usage.prompt_tokens,
        "prompt_tokens_details": { "audio_tokens": 0, "cached_tokens": 0 },
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    })
}

/// The deltas of one message: the role, then text, refusal and tool calls in pieces.
fn deltas(message: &FixtureMessage) -> Vec<Value> {
    let opening = if message.content.is_some() { json!("") } else { Value::Null };
    let mut deltas = vec![json!({ "content": opening, "refusal": null, "role": message.role })];
    let text = message.content.as_deref().unwrap_or_default();
    deltas.extend(pieces(text).into_iter().map(|piece| json!({ "content": piece })));
    let refusal = message.refusal.as_deref().unwrap_or_default();
    deltas.extend(pieces(refusal).into_iter().map(|piece| json!({ "refusal": piece })));
    for (index, call) in message.tool_calls.iter().enumerate() {
        let opening = json!({ "name": call.function.name, "arguments": "" });
        deltas.push(json!({ "tool_calls": [
            { "function": opening, "id": call.id, "index": index, "type": call.kind }
        ] }));
        deltas.extend(
            pieces(&call.function.arguments).into_iter().map(
                |piece| json!({ "tool_calls": [{ "function": { "arguments": piece }, "index": index }] }),
            ),
        );
    }
    deltas
}

/// Cuts a text before each space and inside long words: tokens merge across these cuts, so
/// counting each delta alone gives too many.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut chars) = (0, 0);
    for (at, char) in text.char_indices() {
        if chars == PIECE_CHARS_MAX || (chars > 0 && char == ' ') {
            pieces.push(&text[start..at]);
            (start, chars) = (at, 0);
        }
        chars += 1;
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::demo::fixtures::Fixtures;
    use metering::caller::{Caller, Trust};
    use metering::meter::{Ending, Meter, Rules, count_prompt};
    use metering::usage::{self, Api};

    fn data(event: &Bytes) -> Value {
        let text = std::str::from_utf8(event).unwrap();
        serde_json::from_str(text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap()
    }

    fn script(fixture: &Fixture, include_usage: bool) -> Script<'_> {
        Script { fixture, id: fixture.answer_id(1), created: 1, include_usage }
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text(text in any::<String>()) {
            let pieces = pieces(&text);
            prop_assert!(pieces.iter().all(|piece| (1..=PIECE_CHARS_MAX).contains(&piece.chars().count())));
            prop_assert_eq!(pieces.concat(), text);
        }
    }

    /// A client that joins a stream's deltas has the message of the response that is not streamed.
    #[test]
    fn streams_join_to_the_whole_answer() {
        for fixture in Fixtures::load().unwrap().iter().filter(|f| f.error.is_none()) {
            let events = script(fixture, true).events();
            assert_eq!(events.last().unwrap().as_ref(), b"data: [DONE]\n\n");
            let mut texts = vec![(String::new(), String::new(), Vec::new()); fixture.choices.len()];
            for chunk in events[..events.len() - 1].iter().map(data) {
                for choice in chunk["choices"].as_array().unwrap() {
                    let joined = &mut texts[choice["index"].as_u64().unwrap() as usize];
                    join(joined, &choice["delta"]);
                }
            }
            for (choice, (content, refusal, arguments)) in fixture.choices.iter().zip(texts) {
                let message = &choice.message;
                assert_eq!(content, message.content.clone().unwrap_or_default());
                assert_eq!(refusal, message.refusal.clone().unwrap_or_default());
                let sent: Vec<_> = message.tool_calls.iter().map(|c| c.function.arguments.clone()).collect();
                assert_eq!(arguments, sent);
            }
        }
    }

    fn join((content, refusal, arguments): &mut (String, String, Vec<String>), delta: &Value) {
        content.push_str(delta["content"].as_str().unwrap_or_default());
        refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if call["id"].is_string() {
                assert_eq!(index, arguments.len());
                arguments.push(String::new());
            }
            arguments[index].push_str(call["function"]["arguments"].as_str().unwrap());
        }
    }

    #[test]
    fn usage_comes_only_when_asked_for_and_then_once() {
        for fixture in Fixtures::load().unwrap().iter().filter(|f| f.error.is_none()) {
            let silent = script(fixture, false).events();
            assert!(silent.iter().all(|event| !event.windows(7).any(|w| w == b"\"usage\"")));
            let events = script(fixture, true).events();
            let usages: Vec<_> = events[..events.len() - 1]
                .iter()
                .map(data)
                .filter(|chunk| chunk.get("usage").is_some_and(Value::is_object))
                .collect();
            assert_eq!(usages.len(), 1);
            assert_eq!(usages[0]["choices"], json!([]));
            assert_eq!(usages[0]["usage"], script(fixture, false).body()["usage"]);
        }
    }

    #[test]
    fn streams_have_the_shapes_that_trip_meters() {
        let fixtures = Fixtures::load().unwrap();
        let first = data(&script(fixtures.named("library-hours").unwrap(), false).events()[0]);
        assert_eq!((&first["choices"], &first["id"]), (&json!([]), &json!("")));
        let filtered = script(fixtures.named("claim-summary").unwrap(), false).events();
        let chunks: Vec<_> = filtered[..filtered.len() - 1].iter().map(data).collect();
        let bare = |chunk: &&Value| chunk["choices"].get(0).is_some_and(|c| c.get("delta").is_none());
        assert!(chunks.iter().filter(bare).count() > 2, "annotations without delta");
        assert!(bare(&chunks.last().unwrap()), "one of them after the finish");
    }

    /// The count of this crate for a stream without usage is that of the fixture, which was made elsewhere.
    #[test]
    fn the_meter_agrees_with_the_fixtures() {
        for fixture in Fixtures::load().unwrap().iter().filter(|f| f.error.is_none()) {
            let mut meter = Meter::new(draft(), Rules { end_of_turn: true });
            let request = Bytes::from(fixture.request_body(true, false));
            meter.request_bytes(&request);
            meter.request_end();
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
            meter.response_head(StatusCode::OK, &headers);
            for event in script(fixture, false).events() {
                assert_eq!(meter.response_bytes(&event, usize::MAX), event.len());
            }
            let prompt = count_prompt(Api::ChatCompletions, &[request], &fixture.model);
            meter.prompt_counted(prompt);
            let tokens = meter.settle(Ending::Eof).tokens;
            let usage = fixture.usage.unwrap();
            let expected = (Some(usage.prompt_tokens), Some(usage.completion_tokens));
            assert_eq!((tokens.input, tokens.output), expected, "{}", fixture.name);
        }
    }

    fn draft() -> usage::Usage {
        usage::Usage {
            schema_version: usage::SCHEMA_VERSION.into(),
            caller: Caller::unattributed(Trust::None),
            target: usage::Target { api: Api::ChatCompletions, ..Default::default() },
            request: usage::Request::default(),
            tokens: usage::Tokens::default(),
            tools: Vec::new(),
            units: usage::Units::default(),
            accounting: usage::Accounting::default(),
            stream: usage::Stream::default(),
            timing: usage::Timing::default(),
            ids: usage::Ids::default(),
            capture: None,
            reporter: usage::Reporter::default(),
            unproven: None,
        }
    }
}
