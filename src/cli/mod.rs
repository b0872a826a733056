//! The command line: arguments in, exit code out.
//!
//! | file | idea |
//! |---|---|
//! | `commands` | the command line as clap sees it |
//! | `examples` | lines that can be copied |
//! | `failure` | what is said when a command fails, and its exit code |
//! | `layers` | the settings of a command |
//! | `output` | standard output, and files that are read |
//! | `offline` | `account`, `count`, `schema` |
//! | `readers` | `events`, `report`, `verify`, `drain` |
//! | `health` | `health` |

mod commands;
mod examples;
mod failure;
mod health;
mod layers;
mod offline;
mod output;
mod readers;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use crate::config::{self, Values, settings};
use crate::ledger::OpenError;
use crate::{demo, serve, telemetry};
use failure::{Done, FAILED, Failure, USAGE};
use layers::{checked, unknown_variables, values};
use metering::names;
use output::to_stdout;

/// Runs the command that the arguments name; they come with the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match commands::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return failure::parsing(&error, &arguments),
    };
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(USAGE) };
    let done = match name {
        "serve" => run_serve(matches),
        "demo" => run_demo(matches),
        "events" => readers::run_events(matches),
        "report" => readers::run_report(matches),
        "verify" => readers::run_verify(matches),
        "drain" => readers::run_drain(matches),
        "account" => offline::run_account(matches),
        "count" => offline::run_count(matches),
        "check" => run_check(matches),
        "schema" => offline::run_schema(matches),
        "health" => health::run(matches),
        _ => Err(Failure::usage(format!("{name} is no command"))),
    };
    done.unwrap_or_else(|failure| failure.tell(name))
}

fn run_serve(matches: &ArgMatches) -> Done {
    // Before the first secret is read.
    let hidden = serve::hide_memory();
    let mut values = values(matches)?;
    let Some(config) = config::serve_config(&mut values) else {
        // A name that is nearly right may be why something is not set.
        warn_of_variables("serve");
        return Err(Failure::config(values.errors()));
    };
    let _lines = telemetry::log::init(log_level(&values));
    telemetry::log::hush_panics();
    if let Err(error) = hidden {
        tracing::warn!(%error, "a core dump of this process may hold prompts and secrets: the system does not let it forbid one");
    }
    for variable in unknown_variables() {
        tracing::warn!("{variable}");
    }
    let again = matches.clone();
    serve::run(config, move || read_again(&again)).map_err(|error| of_ledger(&values, error))?;
    Ok(ExitCode::SUCCESS)
}

/// An error of the ledger's directory names the setting; one that names the ledger by itself needs not.
fn of_ledger(values: &Values, error: anyhow::Error) -> Failure {
    let unnamed = error.chain().any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(OpenError::Io { .. } | OpenError::Database { .. } | OpenError::Newer { .. })
        )
    });
    let failure = Failure::from(error);
    if unnamed { failure.of(&values.thing("ledger")) } else { failure }
}

fn log_level(values: &Values) -> &str {
    values.text("log-level").unwrap_or("info")
}

/// The log level that file and environment ask for now. All of the file must be right; what the
/// files hold that it names is not looked at: they are read again for themselves.
fn read_again(matches: &ArgMatches) -> anyhow::Result<String> {
    let read = || {
        let values = values(matches)?;
        checked(&values)?;
        Ok(log_level(&values).to_owned())
    };
    read().map_err(|failure: Failure| anyhow::anyhow!(failure.message))
}

fn warn_of_variables(command: &str) {
    for variable in unknown_variables() {
        failure::warn(command, &format!("warning: {variable}"));
    }
}

fn run_check(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    warn_of_variables("check");
    let Some(config) = config::serve_config(&mut values) else {
        return Err(Failure::config(values.errors()));
    };
    for warning in config.warnings() {
        failure::warn("check", &format!("warning: {warning}"));
    }
    to_stdout(|out| if matches.get_flag("print") { print(&values, out) } else { writeln!(out, "ok") })
}

fn print(values: &Values, out: &mut impl Write) -> io::Result<()> {
    for setting in settings::SETTINGS {
        let Some(origin) = values.origin(setting.name) else { continue };
        let secret = matches!(setting.kind, settings::Kind::Secret);
        let shown = if secret { "(secret)".to_owned() } else { values.all(setting.name).join(", ") };
        let (shown, origin) = (names::shown(&shown), format!("{origin:?}").to_lowercase());
        writeln!(out, "{} = {shown}  # {origin}", setting.key())?;
    }
    Ok(())
}

fn run_demo(matches: &ArgMatches) -> Done {
    let seconds = matches.get_one::<u64>("seconds").copied().unwrap_or_default();
    let options = demo::Options::new(Duration::from_secs(seconds))?;
    Ok(if demo::run(&options)? { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
