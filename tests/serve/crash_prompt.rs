//! kill -9 while calls of every kind and age run: which of them know what their prompt costs?
//!
//! A prompt is counted at once where the service will not report it. Where it will, or may, that is known
//! only at the end, which a killed process does not see: so it is counted when the call has been open for
//! a second.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metering::prompt;
use metering::usage::Api;
use serde_json::{Value, json};

use super::http::{Message, connect, exchange, post};
use super::sidecar::{Sidecar, usage_events};
use super::support::within;
use super::upstream;

/// The age at which a call knows its prompt.
const KNOWN_AT: Duration = Duration::from_millis(1_500);
/// A younger call that waits for the service's word does not.
const YOUNG: Duration = Duration::from_millis(900);
/// Between two calls of a kind, and for how long they begin.
const GAP: Duration = Duration::from_millis(100);
const BEGINNING: Duration = Duration::from_millis(3_200);
/// Of so many calls of [`Kind::Large`] there is one.
const LARGE_EVERY: usize = 8;
const LARGE_BYTES: usize = 8_000_000;
/// How long [`Kind::NamesAnother`] thinks, and when it must know what came of it.
const THINKS: Duration = Duration::from_millis(1_200);
const NAMED_AT: Duration = Duration::from_millis(2_700);
/// The models that answer.
const MODEL: &str = "gpt-4o-2024-11-20";
const ASSUMED: &str = "gpt-4";
/// Costs more with the older of the two vocabularies.
const PROMPT: &str = "早上好。请说一个词，再说一遍。";

/// A call that is whole before the others begin.
const FIRST: &str = "first";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A stream that asked for usage.
    Asked,
    /// A stream that did not.
    NotAsked,
    /// A stream that asked, and thinks until the end.
    Thinks,
    /// The same, of a deployment that is called as another family's model; then it names its own.
    NamesAnother,
    /// No stream: nothing comes until all is there.
    Document,
    /// The same, of a deployment whose name says nothing, and which has answered before.
    Known,
    /// Responses, where usage always comes.
    Responses,
    /// Responses without a word.
    ResponsesThink,
    /// Legacy completions that asked.
    Completions,
    /// A stream that asked, with a prompt of megabytes.
    Large,
}

const KINDS: [Kind; 10] = [
    Kind::Asked,
    Kind::NotAsked,
    Kind::Thinks,
    Kind::NamesAnother,
    Kind::Document,
    Kind::Known,
    Kind::Responses,
    Kind::ResponsesThink,
    Kind::Completions,
    Kind::Large,
];

impl Kind {
    fn of(name: &str) -> Kind {
        KINDS.into_iter().find(|kind| name.starts_with(&format!("{kind:?}-"))).unwrap()
    }

    fn api(self) -> Api {
        match self {
            Kind::Responses | Kind::ResponsesThink => Api::Responses,
            Kind::Completions => Api::Completions,
            _ => Api::ChatCompletions,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Kind::Responses | Kind::ResponsesThink => "/openai/v1/responses",
            Kind::Completions => "/openai/deployments/gpt-35-turbo-instruct/completions",
            Kind::NamesAnother => "/openai/deployments/gpt-4/chat/completions",
            Kind::Thinks | Kind::Document => "/openai/deployments/gpt-4o/chat/completions",
            Kind::Known => "/openai/deployments/yours/chat/completions",
            Kind::Asked | Kind::NotAsked | Kind::Large => "/openai/deployments/mine/chat/completions",
        }
    }

    fn body(self) -> String {
        let large = "word ".repeat(LARGE_BYTES / 5);
        let text = if self == Kind::Large { large.as_str() } else { PROMPT };
        let mut body = match self.api() {
            Api::Responses => json!({"model": "gpt-4o", "input": text}),
            Api::Completions => json!({"prompt": text}),
            _ => json!({"messages": [{"role": "user", "content": text}]}),
        };
        if !matches!(self, Kind::Document | Kind::Known) {
            body["stream"] = json!(true);
        }
        if self.api() != Api::Responses && !matches!(self, Kind::NotAsked | Kind::Document | Kind::Known) {
            body["stream_options"] = json!({"include_usage": true});
        }
        body.to_string()
    }

    /// What the prompt costs, by a model's rules.
    fn costs(self, body: &str, model: &str) -> u64 {
        let model = if self == Kind::Completions { "gpt-35-turbo-instruct" } else { model };
        prompt::count(self.api(), body.as_bytes(), model).tokens.unwrap()
    }
}

/// Answers for as long as somebody listens.
fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let id = request.field("x-ms-client-request-id").unwrap();
    if id == FIRST {
        to.write_all(upstream::STREAM_HEAD.as_bytes())?;
        upstream::write_chunk(to, upstream::stop().as_bytes())?;
        return upstream::write_end(to);
    }
    let kind = Kind::of(id);
    match kind {
        Kind::Document | Kind::Known => return wait(),
        Kind::NamesAnother => std::thread::sleep(THINKS),
        _ => {}
    }
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    if matches!(kind, Kind::Thinks | Kind::ResponsesThink) {
        return wait();
    }
    if kind == Kind::Responses {
        let created = json!({"type": "response.created",
            "response": {"id": "r", "model": MODEL, "created_at": 1_770_000_000, "status": "in_progress", "output": []}});
        upstream::write_chunk(to, format!("data: {created}\n\n").as_bytes())?;
    }
    loop {
        let event = match kind.api() {
            Api::Responses => {
                let delta = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": " word"});
                format!("data: {delta}\n\n")
            }
            Api::Completions => {
                let chunk = json!({"id": "c", "object": "text_completion", "created": 1, "model": "gpt-35-turbo-instruct",
                    "choices": [{"index": 0, "text": " word", "finish_reason": null}]});
                format!("data: {chunk}\n\n")
            }
            _ => upstream::delta(" word"),
        };
        upstream::write_chunk(to, event.as_bytes())?;
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Longer than anybody listens.
fn wait() -> io::Result<()> {
    std::thread::sleep(super::sidecar::PATIENCE);
    Ok(())
}

#[test]
fn a_crashed_call_that_was_open_for_a_moment_knows_its_prompt() {
    within(KNOWN_AT, "the oldest crashed call that does not know its prompt is of", oldest_without_prompt);
}

/// Kills a sidecar at which calls of all kinds and ages run, holds what it left against the truth, and
/// returns the age of the oldest one whose prompt is not known.
fn oldest_without_prompt() -> Duration {
    let service = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let bodies: BTreeMap<Kind, String> = KINDS.into_iter().map(|kind| (kind, kind.body())).collect();
    let first = post(Kind::Known.path(), &[("x-ms-client-request-id", FIRST)], &Kind::NotAsked.body());
    assert_eq!(exchange(&mut connect(sidecar.addr), &first).status(), 200);
    let mut calls: BTreeMap<String, (Kind, Instant, BufReader<TcpStream>)> = BTreeMap::new();
    let began = Instant::now();
    for turn in 0.. {
        let all = KINDS.into_iter().filter(|kind| *kind != Kind::Large || turn % LARGE_EVERY == 0);
        for kind in all {
            let id = format!("{kind:?}-{turn}");
            let fields = [("x-ms-client-request-id", id.as_str())];
            let (begins, mut connection) = (Instant::now(), connect(sidecar.addr));
            connection.get_mut().write_all(&post(kind.path(), &fields, &bodies[&kind])).unwrap();
            calls.insert(id, (kind, begins, connection));
        }
        std::thread::sleep(GAP);
        if began.elapsed() >= BEGINNING {
            break;
        }
    }
    let (killed, _) = sidecar.kill();
    assert_eq!(Sidecar::start(service, &ledger, &[]).stop().0, Some(0));
    let (mut oldest, mut known) = (Duration::ZERO, BTreeMap::<Kind, usize>::new());
    for event in usage_events(&ledger) {
        if event["data"]["ids"]["client_request_id"] == FIRST {
            continue;
        }
        let data = &event["data"];
        assert_eq!(data["stream"]["outcome"], "crashed", "{event}");
        let (kind, begins, _) = &calls[data["ids"]["client_request_id"].as_str().unwrap()];
        let age = killed.duration_since(*begins);
        if holds(*kind, age, data, &bodies[kind]) {
            *known.entry(*kind).or_default() += 1;
        } else {
            oldest = oldest.max(age);
        }
    }
    println!(
        "{} calls of {} kinds; oldest without its prompt: {oldest:?}; known: {known:?}",
        calls.len(),
        KINDS.len()
    );
    assert_eq!(known.len(), KINDS.len(), "{known:?}");
    oldest
}

/// Whether a crashed call of this age knows its prompt. What it says must be right, and what it does not
/// must have a reason.
fn holds(kind: Kind, age: Duration, data: &Value, body: &str) -> bool {
    let accounting = &data["accounting"];
    let reasons = accounting["reasons"].as_array().unwrap();
    let Some(input) = data["tokens"]["input"].as_u64() else {
        assert_eq!(accounting["input_source"], "unknown", "{kind:?} of {age:?}: {data}");
        assert!(reasons.contains(&json!("input:crashed")), "{kind:?} of {age:?}: {data}");
        return false;
    };
    assert_eq!(accounting["input_source"], "computed", "{kind:?} of {age:?}: {data}");
    assert!(kind == Kind::NotAsked || age > YOUNG, "{kind:?} of {age:?} was counted for nothing: {data}");
    let assumed = reasons.contains(&json!("input:model_assumed"));
    let model = if assumed && kind == Kind::NamesAnother { ASSUMED } else { MODEL };
    assert_eq!(input, kind.costs(body, model), "{kind:?} of {age:?}: {data}");
    let silent = matches!(kind, Kind::Thinks | Kind::Document | Kind::Known | Kind::ResponsesThink);
    assert!(
        assumed == silent || (kind == Kind::NamesAnother && age < NAMED_AT),
        "{kind:?} of {age:?}: {data}"
    );
    true
}
