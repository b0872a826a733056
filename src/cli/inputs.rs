//! Where the events come from that a command reads: ledgers, a topic, files.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::arguments::{KAFKA, with_settings};
use super::failure::Failure;
use super::layers::checked;
use crate::config::settings::{AnySetting, KAFKA_BROKERS, LEDGER};
use crate::config::{self, Origin, Values};
use crate::ledger::{DATABASE, OpenError};
use crate::report::{Input, ReportError};

/// The name of the argument FILE.
const FILES: &str = "file";

/// Where no input is given, one of these could be.
const OTHERS: &str = "; or a topic: --kafka-brokers; or FILE, or - for standard input";

/// The arguments of a command that reads any inputs.
pub(super) fn with_inputs(command: Command) -> Command {
    let files = Arg::new(FILES)
        .value_name("FILE")
        .num_args(0..)
        .value_parser(value_parser!(PathBuf))
        .help(
            "Events as JSON lines, as `tokenweir events` prints them, or Avro files of Event Hubs Capture, compressed with gzip \
             or not; a folder of such files; - is standard input",
        );
    let command = with_settings(with_settings(command.arg(files), &[&LEDGER]), KAFKA);
    command.mut_arg(LEDGER.any().name, |argument| argument.action(ArgAction::Append))
}

/// The inputs that flags and arguments name, all of them. If they name none, settings name a topic or else a ledger.
pub(super) fn inputs(values: &mut Values, matches: &ArgMatches) -> Result<Vec<Input>, Failure> {
    let flag = |values: &Values, setting: &AnySetting| values.origin(setting) == Some(Origin::Flag);
    let files = matches.get_many::<PathBuf>(FILES).into_iter().flatten().cloned().map(Input::Files);
    let mut inputs: Vec<Input> = files.collect();
    let is_named = !inputs.is_empty() || flag(values, &LEDGER);
    // Wrong settings of a topic that is not read do not matter.
    let is_topic = flag(values, &KAFKA_BROKERS) || !is_named;
    let topic = if is_topic { config::publish_config(values) } else { None };
    checked(values)?;
    if flag(values, &LEDGER) {
        for dir in values.texts(&LEDGER) {
            inputs.push(Input::Ledger(ledger_at(values, Path::new(dir), OTHERS)?));
        }
    }
    inputs.extend(topic.map(Input::Topic));
    if inputs.is_empty() {
        inputs.push(Input::Ledger(ledger_dir(values, OTHERS)?));
    }
    Ok(inputs)
}

/// An error of the ledger names the setting; one that names the ledger by itself needs not.
pub(super) fn of_ledger(values: &Values, error: ReportError) -> Failure {
    let named = matches!(error, ReportError::Open(OpenError::Locked { .. } | OpenError::NetworkFs { .. }));
    let of_ledger =
        matches!(error, ReportError::Open(_) | ReportError::Read(_) | ReportError::Ledger { .. }) && !named;
    let failure = Failure::from(error);
    if of_ledger { failure.of(&values.thing(&LEDGER)) } else { failure }
}

/// The directory of a ledger that is there; `or` says what else could be given.
pub(super) fn ledger_dir(values: &Values, or: &str) -> Result<PathBuf, Failure> {
    ledger_at(values, &values.get(&LEDGER).unwrap_or_default(), or)
}

fn ledger_at(values: &Values, dir: &Path, or: &str) -> Result<PathBuf, Failure> {
    let Some(problem) = no_ledger(dir) else { return Ok(dir.to_owned()) };
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
