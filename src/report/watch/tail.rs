//! Calls as lines, as they come.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use metering::names;
use metering::usage::Quality;
use strum::{EnumString, IntoStaticStr, VariantNames};
use unicode_width::UnicodeWidthStr;

use super::source::WatchSource;
use super::told::{Told, Wanted};
use crate::report::error::ReportError;
use crate::telemetry::live::LiveCall;

/// How calls are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum TailFormat {
    /// A short line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Columns of the caller and of the deployment; a longer name pushes the rest of its line.
const NAME_COLUMNS: usize = 20;

/// Columns of the way in which a call ended, of a number of tokens and of a duration.
const OUTCOME_COLUMNS: usize = 17;
const TOKENS_COLUMNS: usize = 7;
const DURATION_COLUMNS: usize = 8;

/// Writes the calls of a source, one a line, as they come; the last few first. `notes` gets a line where some were
/// missed. It returns when `out` is closed.
///
/// # Errors
/// If the source cannot be read or ends, or `out` cannot be written for another reason than being closed.
pub fn tail(
    source: &WatchSource,
    format: TailFormat,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ReportError> {
    source.watch(Wanted::Calls, &mut |told| {
        let written = match told {
            Told::Call(call) => match format {
                TailFormat::Text => writeln!(out, "{}", line(&call)),
                TailFormat::Json => serde_json::to_string(&call)
                    .map_err(Into::into)
                    .and_then(|json| writeln!(out, "{}", names::json(&json))),
            },
            Told::Missed(calls) => {
                // The calls matter, not this line.
                let _ = writeln!(notes, "{calls} calls came faster than they were read, and are left out");
                Ok(())
            }
            Told::Behind | Told::UpToDate => out.flush(),
            Told::View(_) => Ok(()),
        };
        match written {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error.into()),
        }
    })
}

/// `09:15:04 team-a  gpt-4o  complete  200  in 412  out 96  1.2 s`
fn line(call: &LiveCall) -> String {
    let time = call.time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S");
    let deployment = call.deployment.as_ref().or(call.model.as_ref()).unwrap_or(&call.api);
    let outcome = call
        .outcome
        .map_or_else(|| format!("{} in a sum", call.calls), |outcome| outcome.as_str().to_owned());
    let duration =
        call.duration_ms.map_or_else(String::new, |ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100));
    let status = if call.status == 0 { "-".to_owned() } else { call.status.to_string() };
    let line = format!(
        "{time}  {}  {}  {}  {status:>3}  in {}  out {}  {duration:>DURATION_COLUMNS$}",
        padded(&names::shown(&call.caller), NAME_COLUMNS),
        padded(&names::shown(deployment), NAME_COLUMNS),
        padded(&outcome, OUTCOME_COLUMNS),
        tokens(call.input, call.input_quality),
        tokens(call.output, call.output_quality),
    );
    line.trim_end().to_owned()
}

/// A number of tokens, with a sign in front that says how far it can be trusted.
fn tokens(tokens: Option<u64>, quality: Quality) -> String {
    let sign = match quality {
        Quality::Exact => "",
        Quality::LowerBound => ">=",
        Quality::Estimated | Quality::Unknown => "~",
    };
    let text = tokens.map_or_else(|| "?".to_owned(), |tokens| format!("{sign}{tokens}"));
    format!("{text:>TOKENS_COLUMNS$}")
}

/// A name in so many columns, as a terminal counts them.
fn padded(name: &str, columns: usize) -> String {
    format!("{name}{}", " ".repeat(columns.saturating_sub(name.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metering::usage::Outcome;
    use uuid::Uuid;

    fn call() -> LiveCall {
        LiveCall {
            time: "2026-11-22T09:15:04.812Z".parse().unwrap(),
            id: Uuid::nil(),
            caller: "team-a".into(),
            department: None,
            api: "chat_completions".into(),
            deployment: Some("gpt-4o".into()),
            model: None,
            status: 200,
            outcome: Some(Outcome::Complete),
            calls: 1,
            input: Some(412),
            output: Some(96),
            input_quality: Quality::Exact,
            output_quality: Quality::Exact,
            duration_ms: Some(1_234),
        }
    }

    #[test]
    fn a_line_says_who_what_how_and_how_well_that_is_known() {
        assert_eq!(
            line(&call()),
            "09:15:04  team-a                gpt-4o                complete           200  in     412  out      96     1.2 s"
        );
        let cut = LiveCall {
            caller: "\u{202e}支付\x1b[2J".into(),
            status: 0,
            outcome: Some(Outcome::ClientDisconnect),
            input: None,
            input_quality: Quality::Unknown,
            output_quality: Quality::LowerBound,
            duration_ms: None,
            ..call()
        };
        assert_eq!(
            line(&cut),
            "09:15:04  \\u{202e}支付\\u{1b}[2J  gpt-4o                client_disconnect    -  in       ?  out    >=96"
        );
        let sum = LiveCall { outcome: None, calls: 7, ..call() };
        assert!(line(&sum).contains("7 in a sum"), "{}", line(&sum));
    }
}
