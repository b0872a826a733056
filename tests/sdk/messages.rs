//! Anthropic's Messages: what the SDK's clients add up is what the event says, by the rules of their `usage`.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use metering::caller::IdSource;
use metering::usage::{Api, Outcome, Quality, Source, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sdk::ANTHROPIC;
use super::support::fake_service;
use super::support::http::Message;
use super::support::messages::{
    begun, block, change, error, event, message, ping, start, stop, text, text_delta,
};
use super::support::sidecar::usage_events;
use super::{SHARED_SECRET, sidecar};

/// A call, as the script reports it.
#[derive(Debug, Deserialize)]
struct Call {
    id: String,
    model: String,
    stream: bool,
    ending: String,
    said: Vec<String>,
    /// As the client has it in the end.
    usage: Option<Value>,
}

/// One answer of the service: its blocks, each with what it says, and its usages, of which the last one stands.
struct Answer {
    blocks: Vec<(Value, Vec<Value>)>,
    said: &'static [&'static str],
    first: Value,
    later: Vec<Value>,
}

impl Answer {
    fn named(model: &str) -> Option<Answer> {
        let plain = |pieces: &[&str]| {
            let deltas = pieces.iter().map(|piece| text_delta(piece)).collect();
            (json!({"type": "text", "text": "", "citations": null}), deltas)
        };
        let input = |pieces: [&str; 3]| {
            pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).to_vec()
        };
        Some(match model {
            "text" => Answer {
                blocks: vec![plain(&["Te", "al, ", "\u{1f600}."])],
                said: &["Teal, \u{1f600}."],
                first: begun(),
                later: vec![json!({"output_tokens": 9})],
            },
            "tools" => Answer {
                blocks: vec![
                    plain(&["I look."]),
                    (
                        json!({"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {}}),
                        input(["", "{\"city\": \"Os", "lo\"}"]),
                    ),
                ],
                said: &["I look.", r#"{"city": "Oslo"}"#],
                first: begun(),
                later: vec![json!({"output_tokens": 89})],
            },
            "thinking" => Answer {
                blocks: vec![
                    (
                        json!({"type": "thinking", "thinking": "", "signature": ""}),
                        vec![
                            json!({"type": "thinking_delta", "thinking": "Blue "}),
                            json!({"type": "thinking_delta", "thinking": "or green?"}),
                            json!({"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9G"}),
                        ],
                    ),
                    plain(&["Teal."]),
                ],
                said: &["Blue or green?", "Teal."],
                first: json!({"input_tokens": 40, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 3}),
                later: vec![json!({"output_tokens": 500, "output_tokens_details": {"thinking_tokens": 460}})],
            },
            "repeated" => Answer {
                blocks: vec![plain(&["Teal."])],
                said: &["Teal."],
                first: json!({"input_tokens": 27, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 1}),
                later: vec![
                    json!({"input_tokens": 27, "cache_read_input_tokens": 0, "output_tokens": 20}),
                    json!({"input_tokens": 31, "cache_read_input_tokens": 5, "cache_creation_input_tokens": null, "output_tokens": 47}),
                ],
            },
            "searched" => Answer {
                blocks: vec![
                    (
                        json!({"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {}}),
                        input(["", "{\"query\": \"te", "al\"}"]),
                    ),
                    (
                        json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": []}),
                        vec![],
                    ),
                    plain(&["Teal."]),
                ],
                said: &[r#"{"query": "teal"}"#, "Teal."],
                first: json!({"input_tokens": 412, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 1,
                    "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}}),
                later: vec![json!({"input_tokens": 1760, "output_tokens": 531,
                    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}})],
            },
            "advised" => Answer {
                blocks: vec![plain(&["Teal."])],
                said: &["Teal."],
                first: json!({"input_tokens": 412, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 1}),
                later: vec![
                    json!({"input_tokens": 1348, "cache_read_input_tokens": 412, "output_tokens": 442, "iterations": [
                        iteration("compaction", 9000, 0, 300),
                        iteration("message", 412, 0, 89),
                        iteration("advisor_message", 823, 0, 1612),
                        iteration("message", 1348, 412, 442),
                    ]}),
                ],
            },
            _ => return None,
        })
    }

    /// The last word on each member.
    fn usage(&self) -> Value {
        let mut usage = self.first.as_object().unwrap().clone();
        for later in &self.later {
            let members = later.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
            usage.extend(members.map(|(name, value)| (name.clone(), value.clone())));
        }
        usage.into()
    }

    fn document(&self) -> Value {
        let filled = |(begins, deltas): &(Value, Vec<Value>)| {
            let mut block = begins.clone();
            let joined =
                |name: &str| deltas.iter().filter_map(|delta| delta[name].as_str()).collect::<String>();
            for (member, text) in [
                ("text", joined("text")),
                ("thinking", joined("thinking")),
                ("signature", joined("signature")),
            ] {
                if !text.is_empty() {
                    block[member] = json!(text);
                }
            }
            if let Ok(input) = serde_json::from_str::<Value>(&joined("partial_json")) {
                block["input"] = input;
            }
            block
        };
        let blocks: Vec<Value> = self.blocks.iter().map(filled).collect();
        message(&blocks, Some("end_turn"), &self.usage())
    }

    fn stream(&self) -> String {
        let blocks = (0..).zip(&self.blocks).map(|(index, (begins, deltas))| block(index, begins, deltas));
        let later: String = self.later.iter().map(change).collect();
        start(&self.first) + &ping() + &blocks.collect::<String>() + &later + &stop()
    }
}

fn iteration(kind: &str, input: u64, read: u64, output: u64) -> Value {
    let mut entry = json!({"type": kind, "input_tokens": input, "cache_read_input_tokens": read,
        "cache_creation_input_tokens": 0, "cache_creation": null, "output_tokens": output});
    if kind != "compaction" {
        entry["model"] = json!(if kind == "message" { "claude-sonnet-5" } else { "claude-opus-5" });
    }
    entry
}

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    assert_eq!(request.fields("x-tokenweir-auth"), [""; 0], "the secret went upstream");
    let asked: Value = serde_json::from_slice(&request.body)?;
    let model = asked["model"].as_str().unwrap();
    if request.target().contains("/count_tokens") {
        return document(to, "200 OK", &json!({"input_tokens": 2095}));
    }
    if model == "limited" {
        let refused = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}});
        return document(to, "429 Too Many Requests", &refused);
    }
    let answer = Answer::named(model);
    if asked["stream"] != true {
        return document(to, "200 OK", &answer.expect("a model that it knows").document());
    }
    let body = match (answer, model) {
        (Some(answer), _) => answer.stream(),
        (None, "failed") => start(&begun()) + &text(0, &["Te"]) + &error("overloaded_error", "busy"),
        (None, _) => return endless(to),
    };
    to.write_all(fake_service::STREAM_HEAD.as_bytes())?;
    body.split_inclusive("\n\n").try_for_each(|event| fake_service::write_chunk(to, event.as_bytes()))?;
    fake_service::write_end(to)
}

/// Goes on for as long as somebody listens.
fn endless(to: &mut TcpStream) -> io::Result<()> {
    to.write_all(fake_service::STREAM_HEAD.as_bytes())?;
    let begins = event(
        &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    );
    fake_service::write_chunk(to, (start(&begun()) + &begins).as_bytes())?;
    loop {
        let delta = event(&json!({"type": "content_block_delta", "index": 0, "delta": text_delta("more ")}));
        fake_service::write_chunk(to, delta.as_bytes())?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn document(to: &mut TcpStream, status: &str, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_anthropic_clients_add_up_is_what_the_events_say() {
    let Some(ready) = ANTHROPIC.ready() else { return };
    let service = fake_service::start(Arc::new(answer));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(service, &ledger, &[]);
    let calls: Vec<Call> = ready.call(&[&format!("http://{}", sidecar.addr), SHARED_SECRET]);
    assert_eq!(sidecar.stop().0, Some(0));
    assert!(calls.len() > 60, "it ran to its end");
    let mut events: HashMap<String, Usage> = HashMap::new();
    for event in usage_events(&ledger) {
        let usage: Usage = serde_json::from_value(event["data"].clone()).expect("usage");
        let id = usage.ids.client_request_id.clone().expect("an id").to_string();
        assert!(events.insert(id, usage).is_none(), "one event for each call");
    }
    let mut callers = BTreeSet::new();
    for call in &calls {
        let event = events.remove(&call.id).unwrap_or_else(|| panic!("no event of {call:?}"));
        judge(call, &event);
        assert_eq!(event.caller.id_source, IdSource::ApiKey, "{call:?}");
        callers.insert(event.caller.id);
    }
    assert!(events.is_empty(), "events that nobody called for: {events:?}");
    assert_eq!(callers.len(), 1, "one key is one caller, by whatever name a client sends it: {callers:?}");
}

fn judge(call: &Call, event: &Usage) {
    let (tokens, accounting) = (&event.tokens, &event.accounting);
    assert_eq!((event.target.api, &*event.target.provider), (Api::Messages, "anthropic"), "{call:?}");
    assert_eq!(event.target.deployment.as_deref(), Some(&*call.model), "{call:?}");
    match &*call.ending {
        "complete" => {
            let sent = Answer::named(&call.model).expect("a model that it knows");
            assert_eq!(call.said, sent.said, "what was received is what was sent");
            let truth = Numbers::of(call.usage.as_ref().expect("a usage"));
            assert_eq!(truth, Numbers::of(&sent.usage()), "{call:?}");
            assert_eq!(
                (
                    tokens.input,
                    tokens.output,
                    tokens.input_cached,
                    tokens.input_cache_write,
                    tokens.output_reasoning
                ),
                (Some(truth.input), Some(truth.output), truth.read, truth.written, truth.thinking),
                "{call:?}"
            );
            assert_eq!((event.units.web_searches, event.units.web_fetches), truth.requests, "{call:?}");
            assert_eq!(
                event.tools.iter().filter_map(|tool| tool.input).sum::<u64>(),
                truth.advised,
                "{call:?}"
            );
            let exact = (Quality::Exact, Quality::Exact);
            assert_eq!((accounting.input_quality, accounting.output_quality), exact, "{call:?}");
            assert_eq!(event.stream.outcome, Outcome::Complete, "{call:?}");
            assert_eq!(event.stream.done_seen, call.stream, "{call:?}");
            assert_eq!(event.target.model.as_deref(), Some("claude-sonnet-5"), "{call:?}");
        }
        "counted" | "status" => {
            assert_eq!((tokens.input, tokens.output), (Some(0), Some(0)), "{call:?}");
            assert_eq!(accounting.reasons, ["input:not_billed", "output:not_billed"], "{call:?}");
        }
        ending => {
            let (outcome, error) = match ending {
                "failed" => (Outcome::UpstreamError, Some("overloaded_error")),
                _ => (Outcome::ClientDisconnect, None),
            };
            assert_eq!(
                (event.stream.outcome, event.request.error_type.as_deref()),
                (outcome, error),
                "{call:?}"
            );
            let truth = Numbers::of(&begun());
            assert_eq!((tokens.input, tokens.input_cached), (Some(truth.input), truth.read), "{call:?}");
            assert_eq!((tokens.output, accounting.output_source), (Some(1), Source::Reported), "{call:?}");
            let qualities = (accounting.input_quality, accounting.output_quality);
            assert_eq!(qualities, (Quality::Exact, Quality::LowerBound), "{call:?}");
        }
    }
}

/// The cost of a usage: the input is all of the prompt, and iterations are summed.
#[derive(Debug, PartialEq)]
struct Numbers {
    input: u64,
    output: u64,
    read: Option<u64>,
    written: Option<u64>,
    thinking: Option<u64>,
    requests: (Option<u64>, Option<u64>),
    advised: u64,
}

impl Numbers {
    fn of(usage: &Value) -> Numbers {
        let prompt = |entry: &Value| {
            let parts = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
            parts.iter().filter_map(|name| entry[name].as_u64()).sum::<u64>()
        };
        let runs = usage["iterations"].as_array().cloned().unwrap_or_default();
        let (advisors, own): (Vec<Value>, Vec<Value>) =
            runs.into_iter().partition(|entry| entry["type"] == "advisor_message");
        let own = if own.is_empty() { vec![usage.clone()] } else { own };
        let sum = |name: &str| own.iter().map(|entry| entry[name].as_u64()).sum::<Option<u64>>();
        let requests = &usage["server_tool_use"];
        Numbers {
            input: own.iter().map(prompt).sum(),
            output: sum("output_tokens").expect("output"),
            read: sum("cache_read_input_tokens"),
            written: sum("cache_creation_input_tokens"),
            thinking: usage["output_tokens_details"]["thinking_tokens"].as_u64(),
            requests: (requests["web_search_requests"].as_u64(), requests["web_fetch_requests"].as_u64()),
            advised: advisors.iter().map(prompt).sum(),
        }
    }
}
