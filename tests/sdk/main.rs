//! Real SDK clients through `tokenweir serve`: text received is text sent, and each call gives one
//! event with the right caller and the right counts.
//!
//! - `sdk`: openai-python, openai-node and anthropic-python, and the scripts that call with them
//! - this file: whole calls, and the events that they leave
//! - `background`: responses that are made after their call, and polled while the sidecar dies
//! - `embeddings`, `media`, `messages`: of services of their own; the rest calls the demo's
//! - `sessions`: responses within WebSockets, and what ends these
//!
//! Needs `python3` and pip, or `node` and npm, to install the package once into `target/`; without, they are listed as not run.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod background;
mod embeddings;
mod media;
mod messages;
mod sdk;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use metering::usage::{Outcome, Quality, Source, Usage};
use tokenweir::demo::Pace;
use tokenweir::demo::fixtures::{Fixture, Fixtures};
use tokenweir::demo::service::{Options, ReplayService};

use self::sdk::{Call, NODE, PYTHON, Sdk};
use self::support::sidecar::{Sidecar, usage_events};
use self::support::skip;

const SHARED_SECRET: &str = "a-secret-between-gateway-and-sidecar";

/// Quick enough for a test, slow enough that streams overlap.
const PACE: Pace = Pace { interval: Duration::from_millis(1), jitter_percent: 80 };

/// A sidecar that knows the gateway by the secret.
fn sidecar(service: SocketAddr, ledger: &Path, more: &[&str]) -> Sidecar {
    let arguments = [&["--caller-trust", "shared-secret"], more].concat();
    let environment = [("TOKENWEIR_CALLER_SHARED_SECRET", SHARED_SECRET)];
    Sidecar::start_with(service, ledger, &arguments, &environment)
}

/// The ledger's usage events by caller.
fn events_by_caller(ledger: &Path) -> HashMap<String, Vec<Usage>> {
    let mut events: HashMap<String, Vec<Usage>> = HashMap::new();
    for event in usage_events(ledger) {
        let usage: Usage = serde_json::from_value(event["data"].clone()).expect("usage");
        events.entry(usage.caller.id.to_string()).or_default().push(usage);
    }
    events
}

/// The SDKs take the service for the real one: what holds without a sidecar must hold with it.
fn understand_the_service(sdk: &Sdk) {
    let Some(ready) = sdk.ready() else { return };
    let service = ReplayService::start(Options { pace: PACE }).expect("service");
    let calls = ready.check(&format!("http://{}", service.addr()), SHARED_SECRET);
    assert_eq!(service.begun(), calls.len() as u64);
}

#[test]
fn python_clients_understand_the_service() {
    understand_the_service(&PYTHON);
}

#[test]
fn node_clients_understand_the_service() {
    understand_the_service(&NODE);
}

#[test]
fn python_calls_through_serve_give_one_right_event_each() {
    one_right_event_each(&PYTHON, false);
}

#[test]
fn node_calls_through_serve_give_one_right_event_each() {
    one_right_event_each(&NODE, false);
}

/// With `--include-usage inject` clients receive the same, and the service reports every stream.
#[test]
fn python_calls_that_did_not_ask_are_reported_and_see_nothing_of_it() {
    one_right_event_each(&PYTHON, true);
}

#[test]
fn node_calls_that_did_not_ask_are_reported_and_see_nothing_of_it() {
    one_right_event_each(&NODE, true);
}

fn one_right_event_each(sdk: &Sdk, injects: bool) {
    let Some(ready) = sdk.ready() else { return };
    let service = ReplayService::start(Options { pace: PACE }).expect("service");
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let include_usage = if injects { "inject" } else { "observe" };
    let sidecar = sidecar(service.addr(), &ledger, &["--include-usage", include_usage]);
    let calls = ready.check(&format!("http://{}", sidecar.addr), SHARED_SECRET);
    assert_eq!(service.begun(), calls.len() as u64, "each call reached the service once");
    assert_eq!(service.identified(), 0, "no identity header went upstream");
    assert_eq!(sidecar.stop().0, Some(0));

    let mut events = events_by_caller(&ledger);
    let fixtures = Fixtures::load().expect("fixtures");
    for call in &calls {
        let found = events.remove(&call.caller).unwrap_or_default();
        assert_eq!(found.len(), 1, "events of {call:?}");
        judge(call, &found[0], fixtures.named(&call.fixture).expect("its fixture"), injects);
    }
    assert!(events.is_empty(), "events that nobody called for: {events:?}");
}

/// The event says what the rules of the demo's service say for this fixture.
fn judge(call: &Call, event: &Usage, fixture: &Fixture, injects: bool) {
    let (tokens, accounting) = (&event.tokens, &event.accounting);
    let truth = fixture.usage.map(|usage| (Some(usage.prompt_tokens), Some(usage.completion_tokens)));
    assert_eq!(event.request.stream, Some(call.stream), "{call:?}");
    match call.ending.as_str() {
        "complete" => {
            let reports = injects || call.include_usage || !call.stream;
            let source = if reports { Source::Reported } else { Source::Computed };
            assert_eq!(event.stream.outcome, Outcome::Complete, "{call:?}");
            assert_eq!(Some((tokens.input, tokens.output)), truth, "{call:?} {accounting:?}");
            assert_eq!((accounting.input_source, accounting.output_source), (source, source), "{call:?}");
            // Whether Azure bills the end of a turn is known for the gpt-4o and gpt-4.1 families only.
            let end_known = reports || !fixture.model.starts_with("gpt-4-");
            let output = if end_known { Quality::Exact } else { Quality::Estimated };
            let qualities = (accounting.input_quality, accounting.output_quality);
            assert_eq!(qualities, (Quality::Exact, output), "{call:?} {accounting:?}");
            assert_eq!(event.target.model.as_deref(), Some(fixture.model.as_str()), "{call:?}");
        }
        "status" => {
            assert_eq!(event.stream.outcome, Outcome::UpstreamStatus, "{call:?}");
            assert_eq!(tokens.output, Some(0), "{call:?} {accounting:?}");
        }
        ending => {
            let outcomes: &[Outcome] = match ending {
                "left" => &[Outcome::ClientDisconnect],
                _ => &[Outcome::UpstreamEof, Outcome::UpstreamError],
            };
            assert!(outcomes.contains(&event.stream.outcome), "{call:?} {:?}", event.stream);
            assert_eq!(accounting.output_quality, Quality::LowerBound, "{call:?} {accounting:?}");
            let whole = fixture.usage.expect("an answer").completion_tokens;
            let seen = tokens.output.expect("a count");
            assert!((1..whole).contains(&seen), "{call:?}: {seen} of {whole} tokens seen");
        }
    }
    assert_eq!(event.target.deployment.as_deref(), Some(fixture.deployment.as_str()), "{call:?}");
}
