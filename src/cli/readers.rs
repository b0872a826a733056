//! `events`, `report`, `verify` and `drain`: what reads a ledger or a topic.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;

use super::failure::{self, Done, FAILED, FOUND, Failure};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::{
    AnySetting, CONTROL_INTERVAL, FLUSH_TIMEOUT, KAFKA_BROKERS, LEDGER, LEDGER_KEEP, LEDGER_MAX_BYTES,
};
use crate::config::{self, Origin, Values};
use crate::ledger::{self, DATABASE, OpenError};
use crate::report::{
    self, DrainOptions, EventsOptions, Format, Input, Prices, Progress, ReportError, ReportOptions,
};
use crate::report::{VerdictFormat, VerifyOptions};
use crate::telemetry;
use crate::telemetry::log::LogLevel;
use metering::names;

pub(super) fn run_events(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let options = EventsOptions {
        dir: ledger_dir(&values, "")?,
        follow: matches.get_flag("follow"),
        refused: matches.get_flag("refused"),
    };
    let (mut done, values) = (Ok(()), &values);
    let written = to_stdout(|out| -> io::Result<()> {
        // A program gets the bytes as they are stored, a terminal the same JSON.
        done = match io::stdout().is_terminal() {
            true => report::events(&options, &mut names::Json(out), &mut io::stderr()),
            false => report::events(&options, out, &mut io::stderr()),
        };
        Ok(())
    })?;
    match done {
        Ok(()) => Ok(written),
        Err(error) => Err(of_ledger(values, error)),
    }
}

pub(super) fn run_report(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
        given.map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let by = text("by").split(',').map(|key| key.trim().parse()).collect::<Result<_, ReportError>>();
    let by = by.map_err(|error| Failure::usage(format!("--by: {error}")))?;
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage(format!(
            "--to {} is not after --from {}: no event can be between them",
            text("to"),
            text("from")
        )));
    }
    let format = matches.get_one::<Format>("format").copied().unwrap_or_default();
    let prices = matches.get_one::<PathBuf>("prices").map(|path| Prices::read(path)).transpose();
    let prices = prices.map_err(|error| {
        Failure::usage(format!("--prices: {}", error.to_string().replace('\n', "\n  "))).alone()
    })?;
    let options =
        ReportOptions { input: input(&mut values, "; or a topic: --kafka-brokers")?, by, from, to, prices };
    let report = report::report(&options).map_err(|error| of_ledger(&values, error))?;
    if let Some(unpriced) = report.unpriced_text() {
        failure::warn(Subcommand::Report, &unpriced);
    }
    if let Some(repeated) = report.repeated_bills_text() {
        failure::warn(Subcommand::Report, &repeated);
    }
    to_stdout(|out| report.write(format, out))
}

pub(super) fn run_verify(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let lines = matches.get_one::<PathBuf>("file").cloned();
    let input = match lines {
        Some(path) => Input::Lines(lines_of(path)?),
        None => input(&mut values, "; or a topic: --kafka-brokers; or FILE, or - for standard input")?,
    };
    checked(&values)?;
    let format = matches.get_one::<VerdictFormat>("format").copied().unwrap_or_default();
    let verdict = report::verify(&VerifyOptions {
        input,
        control_interval: values.get(&CONTROL_INTERVAL).unwrap_or_default(),
        allow_repeats: matches.get_flag("allow-repeats"),
        allow_open: matches.get_flag("allow-open"),
        allow_cut: matches.get_flag("allow-cut"),
    });
    let verdict = verdict.map_err(|error| of_ledger(&values, error))?;
    to_stdout(|out| verdict.write(format, out))?;
    Ok(if verdict.complete { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A file of events, which is no directory.
fn lines_of(path: PathBuf) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path);
    }
    let shown = path.display();
    Err(Failure::run(match path.join(DATABASE).is_file() {
        true => format!("{shown} is a ledger; give it as --ledger {shown}"),
        false => {
            format!("{shown} is a directory; give a file of JSON lines, as `tokenweir events` prints them")
        }
    }))
}

/// A ledger or a topic; a flag that names the one wins over settings that name the other. `or` says what
/// else could be given.
fn input(values: &mut Values, or: &str) -> Result<Input, Failure> {
    let flag = |values: &Values, setting: &AnySetting| values.origin(setting) == Some(Origin::Flag);
    if flag(values, &LEDGER) && flag(values, &KAFKA_BROKERS) {
        return Err(Failure::usage("--ledger and --kafka-brokers: give one of them"));
    }
    // Wrong settings of a topic that is not read do not matter.
    let topic = if flag(values, &LEDGER) { None } else { config::publish_config(values) };
    checked(values)?;
    match topic {
        Some(config) => Ok(Input::Topic(config)),
        None => Ok(Input::Ledger(ledger_dir(values, or)?)),
    }
}

pub(super) fn run_drain(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let config = config::publish_config(&mut values);
    if config.is_none() && values.errors().is_empty() {
        values.error_in(
            &KAFKA_BROKERS,
            "is not set: where should the events go? Give --kafka-brokers host:port, key kafka_brokers, or \
             TOKENWEIR_KAFKA_BROKERS",
        );
    }
    checked(&values)?;
    let Some(config) = config else { return Err(Failure::config(values.errors())) };
    let dir = ledger_dir(&values, "")?;
    let mut progress = Progress::default();
    let _lines = telemetry::log::init(LogLevel::Warn);
    let drained = report::drain(
        &DrainOptions {
            ledger: ledger::LedgerOptions {
                keep: values.get(&LEDGER_KEEP).unwrap_or_default(),
                max_bytes: values.get(&LEDGER_MAX_BYTES).unwrap_or_default(),
                network_fs: config::network_fs(&values),
                ..ledger::LedgerOptions::new(&dir)
            },
            config,
            patience: values.get(&FLUSH_TIMEOUT).unwrap_or_default(),
        },
        |state| progress.show(state),
    );
    let drained = drained.map_err(|error| of_ledger(&values, error))?;
    let (delivered, refused, left) = (drained.delivered, drained.refused, drained.left);
    let own = match delivered {
        1 if drained.own && left == 0 => "; it is the control event of this drain",
        2.. if drained.own && left == 0 => "; one is the control event of this drain",
        _ => "",
    };
    let dir = dir.display();
    to_stdout(|out| writeln!(out, "{delivered} delivered, {refused} refused, {left} left in {dir}{own}"))?;
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// An error of the ledger names the setting; one that names the ledger by itself needs not.
fn of_ledger(values: &Values, error: ReportError) -> Failure {
    let named = matches!(error, ReportError::Open(OpenError::Locked { .. } | OpenError::NetworkFs { .. }));
    let of_ledger = matches!(error, ReportError::Open(_) | ReportError::Read(_)) && !named;
    let failure = Failure::from(error);
    if of_ledger { failure.of(&values.thing(&LEDGER)) } else { failure }
}

/// The directory of a ledger that is there; `or` says what else could be given.
fn ledger_dir(values: &Values, or: &str) -> Result<PathBuf, Failure> {
    let dir = values.get(&LEDGER).unwrap_or_default();
    let Some(problem) = no_ledger(&dir) else { return Ok(dir) };
    let thing = values.thing(&LEDGER);
    if values.origin(&LEDGER) == Some(Origin::Default) {
        // No setting says where it is.
        return Err(Failure::usage(format!(
            "no ledger is named, and {problem}; give --ledger DIR, key ledger, or TOKENWEIR_LEDGER{or}"
        )));
    }
    Err(Failure::run(format!("{thing}: {problem}")))
}

/// Why there is no ledger in a directory; `None` if there is one.
fn no_ledger(dir: &Path) -> Option<String> {
    let (database, shown) = (dir.join(DATABASE), dir.display());
    if database.is_file() {
        return None;
    }
    let found = match dir.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("{shown} is not there"));
        }
        Err(error) => return Some(format!("{shown}: {error}")),
        Ok(found) => found,
    };
    if !found.is_dir() {
        let parent = dir.parent().filter(|_| dir.file_name().is_some_and(|name| name == DATABASE));
        return Some(match parent {
            Some(parent) if parent.as_os_str().is_empty() => {
                format!("{shown} is the database itself; its directory is .")
            }
            Some(parent) => format!("{shown} is the database itself; its directory is {}", parent.display()),
            None => format!("{shown} is a file; a ledger is a directory"),
        });
    }
    if let Err(error) = database.metadata()
        && error.kind() != io::ErrorKind::NotFound
    {
        return Some(format!("{}: {error}", database.display()));
    }
    // A common slip: the directory above.
    let below = ["tokenweir-ledger", "ledger"].map(|name| dir.join(name));
    let meant = below.iter().find(|dir| dir.join(DATABASE).is_file());
    let hint = meant.map_or(String::new(), |dir| format!("; did you mean {}?", dir.display()));
    Some(format!("{shown} holds no ledger (no {DATABASE}){hint}"))
}
