//! Real SDK clients through `tokenweir serve`: text received is text sent, and each call gives one
//! event with the right caller and the right counts.
//!
//! - `sdk`: openai-python and openai-node, and the scripts that call with them
//! - `sidecar`: the process between, and its events
//! - `embeddings`: of a service of its own; the rest calls the demo's
//!
//! Needs `python3` and pip, or `node` and npm, to install the package once into `target/`; without, they are listed as not run.

#![allow(missing_docs, clippy::expect_used, clippy::print_stdout, clippy::unwrap_used)] // helpers of a test may stop it and speak

mod embeddings;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../serve/http.rs"]
mod http;
mod sdk;
mod sidecar;
#[path = "../support/skip.rs"]
mod skip;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../serve/upstream.rs"]
mod upstream;

use std::time::Duration;

use tokenweir::demo::Pace;
use tokenweir::demo::fixtures::{Fixture, Fixtures};
use tokenweir::demo::service::{Options, Service};
use tokenweir::usage::{Outcome, Quality, Source, Usage};

use self::sdk::{Call, NODE, PYTHON, Sdk};
use self::sidecar::{Sidecar, usage_events};

const SHARED_SECRET: &str = "a-secret-between-gateway-and-sidecar";

/// Quick enough for a test, slow enough that streams overlap.
const PACE: Pace = Pace { interval: Duration::from_millis(1), jitter_percent: 80 };

/// The SDKs take the service for the real one: what holds without a sidecar must hold with it.
fn understand_the_service(sdk: &Sdk) {
    let Some(ready) = sdk.ready() else { return };
    let service = Service::start(Options { pace: PACE }).expect("service");
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
    let service = Service::start(Options { pace: PACE }).expect("service");
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let include_usage = if injects { "inject" } else { "observe" };
    let sidecar = Sidecar::start(service.addr(), &ledger, SHARED_SECRET, &["--include-usage", include_usage]);
    let calls = ready.check(&sidecar.url, SHARED_SECRET);
    assert_eq!(service.begun(), calls.len() as u64, "each call reached the service once");
    assert_eq!(service.identified(), 0, "no identity header went upstream");
    sidecar.terminate();

    let mut events = usage_events(&ledger);
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
