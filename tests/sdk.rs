//! Real SDK clients (`OpenAI`, `AzureOpenAI`, `AsyncAzureOpenAI` of the `openai` package) through
//! `tokenweir serve`: text received is text sent, and each call gives one event with the right
//! caller and the right counts.
//!
//! Needs `python3`, and pip to install the package once into `target/`. Without: `SKIPPED`.

#![allow(missing_docs, clippy::expect_used, clippy::print_stdout)] // helpers of a test may stop it and speak

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokenweir::demo::Pace;
use tokenweir::demo::fixtures::{Fixture, Fixtures};
use tokenweir::demo::service::{Options, Service};
use tokenweir::usage::{CloudEvent, EventType, Outcome, Quality, Source, Usage};

const SHARED_SECRET: &str = "a-secret-between-gateway-and-sidecar";

/// pip may have to fetch some 15 MB.
const INSTALL_MAX: Duration = Duration::from_secs(300);

/// About 170 calls, on a loaded machine.
const CHECK_MAX: Duration = Duration::from_secs(240);

/// Quick enough for a test, slow enough that streams overlap.
const PACE: Pace = Pace { interval: Duration::from_millis(1), jitter_percent: 80 };

/// One call, as `check.py` reports it.
#[derive(Debug, Deserialize)]
struct Call {
    caller: String,
    client: String,
    fixture: String,
    stream: bool,
    include_usage: bool,
    ending: String,
}

/// The SDKs take the service for the real one: what holds without a sidecar must hold with it.
#[test]
fn sdk_clients_understand_the_service() {
    let Some(python) = python() else { return };
    let service = Service::start(Options { pace: PACE }).expect("service");
    let calls = check(&python, &format!("http://{}", service.addr()));
    assert_eq!(service.begun(), calls.len() as u64);
}

#[test]
fn sdk_calls_through_serve_give_one_right_event_each() {
    one_right_event_each(false);
}

/// With `--include-usage inject` clients receive the same, and the service reports every stream.
#[test]
fn sdk_calls_that_did_not_ask_are_reported_and_see_nothing_of_it() {
    one_right_event_each(true);
}

fn one_right_event_each(injects: bool) {
    let Some(python) = python() else { return };
    let service = Service::start(Options { pace: PACE }).expect("service");
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let include_usage = if injects { "inject" } else { "observe" };
    let sidecar = Sidecar::start(&service, &ledger, &["--include-usage", include_usage]);
    let calls = check(&python, &sidecar.url);
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
    assert_eq!(event.request.stream, call.stream, "{call:?}");
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

/// A `tokenweir serve` without a broker.
struct Sidecar {
    child: Child,
    url: String,
}

impl Sidecar {
    fn start(service: &Service, ledger: &Path, more: &[&str]) -> Sidecar {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--caller-trust", "shared-secret"])
            .args(more)
            .args(["--upstream", &format!("http://{}", service.addr())])
            .arg("--ledger")
            .arg(ledger)
            .env("TOKENWEIR_CALLER_SHARED_SECRET", SHARED_SECRET)
            .stderr(Stdio::piped())
            .spawn()
            .expect("serve");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "listening").then(|| line["listen"].as_str().map(str::to_owned))?
        });
        // The log must go on being read, or serve would wait for us.
        std::thread::spawn(move || log.for_each(drop));
        let url = format!("http://{}", address.expect("serve says where it listens"));
        Sidecar { child, url }
    }

    /// SIGTERM: it settles what is open and ends with 0.
    fn terminate(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        let ended = wait(&mut self.child, Duration::from_secs(60));
        assert!(ended.is_some_and(|status| status.success()), "serve ended with {ended:?}");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ledger's usage events by caller, as `tokenweir events` prints them.
fn usage_events(ledger: &Path) -> HashMap<String, Vec<Usage>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenweir"));
    let output = command.arg("events").arg("--ledger").arg(ledger).output().expect("events");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut events: HashMap<String, Vec<Usage>> = HashMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let event: CloudEvent<serde_json::Value> = serde_json::from_str(line).expect("an event a line");
        if event.kind == EventType::Usage {
            let usage: Usage = serde_json::from_value(event.data).expect("usage");
            events.entry(usage.caller.id.clone()).or_default().push(usage);
        }
    }
    events
}

/// Runs `check.py` against a base URL and returns the calls that it made.
fn check(python: &Path, base_url: &str) -> Vec<Call> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/sdk/check.py"))
        .args([base_url, &root.join("fixtures/demo").display().to_string(), SHARED_SECRET])
        .env("NO_PROXY", "*");
    let output = run(command, CHECK_MAX).expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "check.py: {}\n{errors}", output.status);
    let calls = String::from_utf8(output.stdout).expect("text");
    let calls: Vec<Call> =
        calls.lines().map(|line| serde_json::from_str(line).expect("a call a line")).collect();
    assert!(calls.iter().filter(|call| call.client == "AsyncAzureOpenAI").count() >= 50, "it ran to its end");
    calls
}

/// A Python that has the SDK, in an environment under `target/`; `None`, said aloud, if there is none.
fn python() -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-venv");
    let python = environment.join("bin/python");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/requirements.txt");
    let install: [(&str, Command); 2] = [
        ("python3 -m venv", {
            let mut command = Command::new("python3");
            command.args(["-m", "venv"]).arg(&environment);
            command
        }),
        ("pip install", {
            let mut command = Command::new(&python);
            command.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements);
            command
        }),
    ];
    for (what, command) in install {
        match run(command, INSTALL_MAX) {
            Ok(output) if output.status.success() => {}
            failed => {
                println!("SKIPPED: no Python SDK: `{what}` failed: {failed:?}");
                return None;
            }
        }
    }
    Some(python)
}

/// Runs a command to its end, or kills it when `limit` is over.
fn run(mut command: Command, limit: Duration) -> std::io::Result<Output> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = child.id().to_string();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output();
    drop(done);
    let _ = watchdog.join();
    output
}

/// Waits for a process at most so long.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
