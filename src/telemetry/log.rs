//! Log lines on stderr, JSON for programs and text for people: one per call, never content.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt, reload};

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

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum LogFormat {
    /// As text where a terminal reads it, else as JSON.
    Auto,
    /// JSON, one object a line.
    Json,
    /// Text, one line each.
    Text,
}

/// Of the calls, those that have a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum LogCalls {
    /// Each.
    #[default]
    On,
    /// None.
    Off,
    /// The first, and then one of [`SAMPLED_ONE_OF`].
    Sampled,
}

/// Of so many calls one has a line where they are sampled: at the 2,000 calls a second of a busy sidecar that is 20 lines.
pub const SAMPLED_ONE_OF: u64 = 100;

/// Holds the level, which may be changed while the process runs.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging. Lines are written by a thread of their own until the guard is dropped.
///
/// A second call in the same process does nothing: tests and the demo start more than one
/// sidecar.
pub fn init(level: LogLevel, format: LogFormat) -> Option<WorkerGuard> {
    let (writer, guard): (NonBlocking, WorkerGuard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .thread_name("tw-log")
        .finish(std::io::stderr());
    let is_text = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = if is_text { text(writer) } else { json(writer) };
    let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber).ok()?;
    let _ = LEVEL.set(handle);
    Some(guard)
}

/// A layer that writes lines.
type Lines<S> = Box<dyn Layer<S> + Send + Sync>;

fn json<S: Subscriber + for<'a> LookupSpan<'a>>(writer: NonBlocking) -> Lines<S> {
    let lines = fmt::layer()
        .json()
        .fmt_fields(JsonFields::new())
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_writer(move || names::Json(writer.clone()));
    lines.boxed()
}

fn text<S: Subscriber + for<'a> LookupSpan<'a>>(writer: NonBlocking) -> Lines<S> {
    let lines = fmt::layer()
        .with_target(false)
        .with_timer(SystemTime)
        .with_ansi(false)
        .with_writer(move || names::Line(writer.clone()));
    lines.boxed()
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

/// Writes the lines of calls.
#[derive(Debug, Default)]
pub struct CallLog {
    calls: LogCalls,
    seen: AtomicU64,
}

impl CallLog {
    /// A log of these calls.
    pub fn new(calls: LogCalls) -> CallLog {
        CallLog { calls, seen: AtomicU64::new(0) }
    }

    /// The line of a call that has settled, if it has one.
    pub fn settled(&self, settled: &Settled) {
        if self.has_line() {
            call(settled);
        }
    }

    fn has_line(&self) -> bool {
        match self.calls {
            LogCalls::On => true,
            LogCalls::Off => false,
            LogCalls::Sampled => self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED_ONE_OF),
        }
    }
}

/// The line of one call. Its fields are the event's.
fn call(settled: &Settled) {
    let Settled { id, usage, .. } = settled;
    let Usage { caller, target, request, tokens, accounting, stream, timing, ids, .. } = usage;
    let unproven = usage.unproven.as_deref();
    let claimed = unproven.and_then(|unproven| unproven.claimed.as_ref());
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
        unproven.peer = unproven.map(|unproven| tracing::field::display(unproven.ip)),
        unproven.caller_id = claimed.map(|(id, _)| id.as_str()),
        unproven.id_source = claimed.map(|(_, source)| <&str>::from(source)),
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
            let lines = init(LogLevel::Error, LogFormat::Auto);
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

    const NAME: &str = "\u{9b}2J\x1b[2J\u{202e}gnp\u{2028}\né";

    /// What a process of its own says that logs a name, in that format.
    fn said(test: &str, format: LogFormat) -> Option<String> {
        const CHILD: &str = "TOKENWEIR_LOG_NAMES_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let lines = init(LogLevel::Info, format);
            tracing::info!(name = NAME, number = 5, "a name: {NAME}");
            drop(lines);
            return None;
        }
        let test = format!("telemetry::log::tests::{test}");
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", &test, "--nocapture"]).env(CHILD, "1").output().unwrap();
        Some(String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn text_is_one_line_for_people_that_steers_no_terminal() {
        let test = "text_is_one_line_for_people_that_steers_no_terminal";
        let Some(said) = said(test, LogFormat::Text) else { return };
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("a name")).collect();
        let [line] = lines[..] else { panic!("{said}") };
        let (time, rest) = line.split_once(' ').unwrap();
        time.parse::<jiff::Timestamp>().unwrap();
        let hidden = r#" name="\u{9b}2J\u{1b}[2J\u{202e}gnp\u{2028}\né""#;
        assert!(rest.trim_start().starts_with("INFO a name: ") && rest.ends_with("number=5"), "{line}");
        assert!(line.contains(hidden), "{line}");
        assert!(line.chars().all(|c| c == 'é' || (' '..='~').contains(&c)), "{line:?}");
    }

    #[test]
    fn a_line_steers_no_terminal_and_says_what_was_said() {
        let test = "a_line_steers_no_terminal_and_says_what_was_said";
        let Some(said) = said(test, LogFormat::Json) else { return };
        let line = said.lines().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(names::shown(line).replace("\\u{5c}", "\\"), line);
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (json["name"].as_str(), json["message"].as_str()),
            (Some(NAME), Some(&*format!("a name: {NAME}")))
        );
    }

    #[test]
    fn of_sampled_calls_the_first_has_a_line_and_then_one_of_a_hundred() {
        let lines = |calls, n: u64| {
            let log = CallLog::new(calls);
            (0..n).filter(|_| log.has_line()).collect::<Vec<_>>()
        };
        assert_eq!(lines(LogCalls::Sampled, 250), [0, SAMPLED_ONE_OF, 2 * SAMPLED_ONE_OF]);
        assert_eq!((lines(LogCalls::On, 3).len(), lines(LogCalls::Off, 3).len()), (3, 0));
    }

    #[test]
    fn the_trace_id_is_the_second_part() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(Some(parent)), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace_id(Some("junk")), None);
        assert_eq!(trace_id(None), None);
    }
}
