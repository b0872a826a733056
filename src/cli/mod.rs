//! The command line: arguments in, exit code out.
//!
//! | file | idea |
//! |---|---|
//! | `commands` | the command line as clap sees it |
//! | `arguments` | the arguments that commands are built of |
//! | `subcommand` | the commands, and lines that can be copied |
//! | `failure` | what is said when a command fails, and its exit code |
//! | `layers` | the settings of a command |
//! | `output` | standard output, and files that are read |
//! | `offline` | `account`, `count`, `schema` |
//! | `inputs` | the ledgers, the topic and the files that a command reads |
//! | `cost` | the files that cost comes from |
//! | `focus` | the flags of FOCUS |
//! | `events`, `report`, `verify`, `reconcile`, `close`, `drain` | each the command of its name |
//! | `health` | `health` |

mod arguments;
mod close;
mod commands;
mod cost;
mod drain;
mod events;
mod failure;
mod focus;
mod health;
mod inputs;
mod layers;
mod offline;
mod output;
mod reconcile;
mod report;
mod subcommand;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use crate::config::settings::{LEDGER, LOG_LEVEL, SETTINGS};
use crate::config::{self, Values};
use crate::ledger::OpenError;
use crate::telemetry::log::LogLevel;
use crate::{demo, serve, telemetry};
use failure::{Done, FAILED, Failure, USAGE};
use layers::{checked, unknown_variables, values};
use metering::names;
use output::to_stdout;
use subcommand::Subcommand;

/// Runs the command that the arguments name; they come with the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let typed = arguments.get(1).and_then(|word| word.to_str()?.parse().ok());
    let matches = match commands::command(typed).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return failure::parsing(&error, &arguments),
    };
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(USAGE) };
    let Ok(command) = name.parse::<Subcommand>() else { return ExitCode::from(USAGE) };
    run_command(command, matches).unwrap_or_else(|failure| failure.tell(command))
}

fn run_command(command: Subcommand, matches: &ArgMatches) -> Done {
    match command {
        Subcommand::Serve => run_serve(matches),
        Subcommand::Demo => run_demo(matches),
        Subcommand::Events => events::run(matches),
        Subcommand::Report => report::run(matches),
        Subcommand::Verify => verify::run(matches),
        Subcommand::Reconcile => reconcile::run(matches),
        Subcommand::Close => close::run(matches),
        Subcommand::Drain => drain::run(matches),
        Subcommand::Account => offline::run_account(matches),
        Subcommand::Count => offline::run_count(matches),
        Subcommand::Check => run_check(matches),
        Subcommand::Schema => offline::run_schema(matches),
        Subcommand::Health => health::run(matches),
    }
}

fn run_serve(matches: &ArgMatches) -> Done {
    // Before the first secret is read.
    let hidden = serve::hide_memory();
    let mut values = values(matches)?;
    let Some(config) = config::serve_config(&mut values) else {
        // A name that is nearly right may be why something is not set.
        warn_of_variables(Subcommand::Serve);
        return Err(Failure::config(values.errors()));
    };
    let _lines = telemetry::log::init(values.get(&LOG_LEVEL).unwrap_or(LogLevel::Info));
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
    if unnamed { failure.of(&values.thing(&LEDGER)) } else { failure }
}

/// The log level that file and environment ask for now. All of the file must be right; what the
/// files hold that it names is not looked at: they are read again for themselves.
fn read_again(matches: &ArgMatches) -> anyhow::Result<LogLevel> {
    let read = || {
        let values = values(matches)?;
        checked(&values)?;
        Ok(values.get(&LOG_LEVEL).unwrap_or(LogLevel::Info))
    };
    read().map_err(|failure: Failure| anyhow::anyhow!(failure.message))
}

fn warn_of_variables(command: Subcommand) {
    for variable in unknown_variables() {
        failure::warn(command, &format!("warning: {variable}"));
    }
}

fn run_check(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    warn_of_variables(Subcommand::Check);
    let Some(config) = config::serve_config(&mut values) else {
        return Err(Failure::config(values.errors()));
    };
    for warning in config.warnings() {
        failure::warn(Subcommand::Check, &format!("warning: {warning}"));
    }
    to_stdout(|out| if matches.get_flag("print") { print(&values, out) } else { writeln!(out, "ok") })
}

fn print(values: &Values, out: &mut impl Write) -> io::Result<()> {
    for setting in SETTINGS {
        let Some(origin) = values.origin(setting) else { continue };
        let secret = setting.is_secret();
        let shown = if secret { "(secret)".to_owned() } else { values.texts(setting).join(", ") };
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
