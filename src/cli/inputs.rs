//! Where the events come from that a command reads: a ledger, or a topic.

use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::layers::checked;
use crate::config::settings::{AnySetting, KAFKA_BROKERS, LEDGER};
use crate::config::{self, Origin, Values};
use crate::ledger::{DATABASE, OpenError};
use crate::report::{Input, ReportError};

/// A ledger or a topic; a flag that names the one wins over settings that name the other. `or` says what
/// else could be given.
pub(super) fn input(values: &mut Values, or: &str) -> Result<Input, Failure> {
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

/// An error of the ledger names the setting; one that names the ledger by itself needs not.
pub(super) fn of_ledger(values: &Values, error: ReportError) -> Failure {
    let named = matches!(error, ReportError::Open(OpenError::Locked { .. } | OpenError::NetworkFs { .. }));
    let of_ledger = matches!(error, ReportError::Open(_) | ReportError::Read(_)) && !named;
    let failure = Failure::from(error);
    if of_ledger { failure.of(&values.thing(&LEDGER)) } else { failure }
}

/// The directory of a ledger that is there; `or` says what else could be given.
pub(super) fn ledger_dir(values: &Values, or: &str) -> Result<PathBuf, Failure> {
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
