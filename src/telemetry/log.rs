//! Log lines: JSON on stderr, one per call, never content.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use super::comparison::Comparison;
use metering::names;
use metering::usage::{Settled, Usage};

/// Lines that may wait for stderr; beyond it lines are dropped rather than a request delayed.
const LINES_MAX: usize = 8_192;

/// The level of the lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// One line a call too.
    Info,
    /// Steps of the work too.
    Debug,
    /// All there is.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// Holds the level, which may be changed while the process runs.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging. Lines are written by a thread of their own until the guard is dropped.
///
/// A second call in the same process does nothing: tests and the demo start more than one
/// sidecar.
pub fn init(level: LogLevel) -> Option<WorkerGuard> {
    let (writer, guard): (NonBlocking, WorkerGuard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .thread_name("tw-log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .fmt_fields(JsonFields::new())
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(move || names::Json(writer.clone()));
    let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber).ok()?;
    let _ = LEVEL.set(handle);
    Some(guard)
}

/// Changes the level. True if it was another; false also where logging was not started.
pub fn set_level(level: LogLevel) -> bool {
    let Some(handle) = LEVEL.get() else { return false };
    let wanted = LevelFilter::from(level);
    handle.clone_current() != Some(wanted) && handle.reload(wanted).is_ok()
}

/// From now on a panic's line names its place and not its message, which may quote what was being read.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "a panic");
    }));
}

/// The line of one call. Its fields are the event's.
pub fn call(settled: &Settled) {
    let Settled { id, usage, .. } = settled;
    let Usage { caller, target, request, tokens, accounting, stream, timing, ids, .. } = usage;
    tracing::info!(
        id = %id,
        caller.id = caller.id.as_str(),
        target.api = target.api.as_str(),
        target.deployment = target.deployment.as_deref(),
        target.model = target.model.as_deref(),
        request.status = request.status,
        stream.outcome = stream.outcome.as_str(),
        tokens.input = tokens.input,
        tokens.output = tokens.output,
        accounting.input_source = accounting.input_source.as_str(),
        accounting.output_source = accounting.output_source.as_str(),
        accounting.input_quality = accounting.input_quality.as_str(),
        accounting.output_quality = accounting.output_quality.as_str(),
        timing.first_token_ms = timing.first_token_ms,
        timing.duration_ms = timing.duration_ms,
        trace_id = trace_id(ids.traceparent.as_deref()),
        "call"
    );
}

/// The line of a class of numbers that begins or ceases to be billed otherwise than the rules say;
/// none if nothing has turned.
pub fn compared(comparison: &Comparison<'_>) {
    let Comparison { resource, deployment, model, class, residual_tokens, turned, wrong_calls } = *comparison;
    match turned {
        Some(true) => tracing::warn!(
            target.resource = resource,
            target.deployment = deployment,
            target.model = model,
            class,
            wrong_calls,
            residual_tokens,
            "the service bills otherwise than the rules say: computed numbers of this class are estimated"
        ),
        Some(false) => tracing::info!(
            target.resource = resource,
            target.deployment = deployment,
            target.model = model,
            class,
            wrong_calls,
            "the service bills as the rules say again: computed numbers of this class are trusted"
        ),
        None => {}
    }
}

/// The trace id within a W3C `traceparent`.
fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent?.split('-').nth(1).filter(|id| id.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of its own, because the hook and the log are the process's.
    #[test]
    fn a_panic_names_its_place_and_quotes_nothing() {
        const CHILD: &str = "TOKENWEIR_LOG_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let lines = init(LogLevel::Error);
            hush_panics();
            let quoted = std::panic::catch_unwind(|| std::hint::black_box("a canary é")[..10].len());
            drop(lines);
            assert!(quoted.is_err());
            return;
        }
        let name = "telemetry::log::tests::a_panic_names_its_place_and_quotes_nothing";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("log.rs:"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }

    /// It runs in a process of its own as well.
    #[test]
    fn a_line_steers_no_terminal_and_says_what_was_said() {
        const CHILD: &str = "TOKENWEIR_LOG_NAMES_TEST_CHILD";
        const NAME: &str = "\u{9b}2J\x1b[2J\u{202e}gnp\u{2028}é";
        if std::env::var_os(CHILD).is_some() {
            let lines = init(LogLevel::Info);
            tracing::info!(name = NAME, "a name: {NAME}");
            drop(lines);
            return;
        }
        let test = "telemetry::log::tests::a_line_steers_no_terminal_and_says_what_was_said";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(names::shown(line).replace("\\u{5c}", "\\"), line);
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (json["name"].as_str(), json["message"].as_str()),
            (Some(NAME), Some(&*format!("a name: {NAME}")))
        );
    }

    #[test]
    fn the_trace_id_is_the_second_part() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(Some(parent)), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace_id(Some("junk")), None);
        assert_eq!(trace_id(None), None);
    }
}
