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
//! | `content_keys` | who opens captured content |
//! | `cost` | the files that cost comes from |
//! | `focus` | the flags of FOCUS |
//! | `events`, `report`, `verify`, `reconcile`, `close`, `open`, `drain` | each the command of its name |
//! | `watch` | `top` and `tail` |
//! | `health` | `health` |
//! | `connect` | `check --connect` |
//! | `generated` | `completions` and `man` |

mod arguments;
mod close;
mod commands;
mod connect;
mod content_keys;
mod cost;
mod drain;
mod events;
mod failure;
mod focus;
mod generated;
mod health;
mod inputs;
mod layers;
mod offline;
mod open;
mod output;
mod reconcile;
mod report;
mod subcommand;
mod verify;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use crate::config::settings::{LEDGER, LISTEN, LOG_FORMAT, LOG_LEVEL, SETTINGS};
use crate::config::{self, SettingTexts, Values};
use crate::ledger::OpenError;
use crate::serve::Rereading;
use crate::telemetry::BuildInfo;
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::{demo, serve, telemetry};
use failure::{Done, FAILED, Failure, USAGE};
use layers::{checked, unknown_variables, values};
use metering::names;
use output::to_stdout;
use subcommand::Subcommand;

/// Runs the command that the arguments name; they come with the program's own name first. `build` is what the program
/// was built from.
pub fn run(arguments: impl IntoIterator<Item = OsString>, build: BuildInfo) -> ExitCode {
    build.set();
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
        Subcommand::Top => watch::run_top(matches),
        Subcommand::Tail => watch::run_tail(matches),
        Subcommand::Events => events::run(matches),
        Subcommand::Report => report::run(matches),
        Subcommand::Verify => verify::run(matches),
        Subcommand::Reconcile => reconcile::run(matches),
        Subcommand::Close => close::run(matches),
        Subcommand::Open => open::run(matches),
        Subcommand::Drain => drain::run(matches),
        Subcommand::Account => offline::run_account(matches),
        Subcommand::Count => offline::run_count(matches),
        Subcommand::Check => run_check(matches),
        Subcommand::Schema => offline::run_schema(matches),
        Subcommand::Health => health::run(matches),
        Subcommand::Completions => generated::run_completions(matches, commands::command(None)),
        Subcommand::Man => generated::run_man(matches, commands::command(None)),
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
    let level = values.get(&LOG_LEVEL).unwrap_or(LogLevel::Info);
    let _lines = telemetry::log::init(level, values.get(&LOG_FORMAT).unwrap_or(LogFormat::Auto));
    telemetry::log::hush_panics();
    if let Err(error) = hidden {
        tracing::warn!(%error, "a core dump of this process may hold prompts and secrets: the system does not let it forbid one");
    }
    for variable in unknown_variables() {
        tracing::warn!("{variable}");
    }
    let (again, at_start) = (matches.clone(), values.texts_of_all());
    let run = serve::run(config, move || read_again(&again, &at_start));
    run.map_err(|error| of_ledger(&values, error))?;
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

/// The log level that file and environment ask for now, and which other settings they change. All of the file must be
/// right; what the files hold that it names is not looked at: they are read again for themselves.
fn read_again(matches: &ArgMatches, at_start: &SettingTexts) -> anyhow::Result<Rereading> {
    let read = || {
        let values = values(matches)?;
        checked(&values)?;
        let now = values.texts_of_all();
        let changed = SETTINGS.iter().filter(|setting| at_start.get(setting.name) != now.get(setting.name));
        let needs_restart = changed.filter(|setting| setting.name != LOG_LEVEL.name);
        Ok(Rereading {
            log_level: values.get(&LOG_LEVEL).unwrap_or(LogLevel::Info),
            needs_restart: needs_restart.map(|setting| setting.key()).collect(),
        })
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
    if matches.get_flag("connect") {
        return connect::run(&config);
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
    if matches.get_flag("service-only") {
        let listen = matches.get_one::<SocketAddr>(LISTEN.any().name).copied();
        let listen = listen.ok_or_else(|| Failure::usage("--service-only needs --listen"))?;
        demo::run_service(listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = matches.get_flag("page");
    let usual = if page { demo::DURATION_WITH_PAGE } else { demo::DURATION };
    let duration = matches.get_one::<u64>("seconds").map_or(usual, |seconds| Duration::from_secs(*seconds));
    let options = demo::Options { page, ..demo::Options::new(duration)? };
    Ok(if demo::run(&options)? { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
