//! The settings of a command from all their layers: flags, environment, file, defaults.

use std::cell::RefCell;
use std::env::VarError;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::failure::Failure;
use crate::config::{self, CONFIG_VARIABLE, Values};

/// The settings of a command.
pub(super) fn values(matches: &ArgMatches) -> Result<Values, Failure> {
    let flag = |name: &str| {
        let given = matches.try_get_many::<String>(name).ok().flatten()?;
        (matches.value_source(name) == Some(ValueSource::CommandLine)).then(|| given.cloned().collect())
    };
    let unreadable = RefCell::new(Vec::new());
    let env = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => {
            unreadable.borrow_mut().push(name.to_owned());
            None
        }
    };
    let given =
        matches.try_get_one::<PathBuf>("config").ok().flatten().cloned().map(|path| ("--config", path));
    let file = given
        .or_else(|| std::env::var_os(CONFIG_VARIABLE).map(|path| (CONFIG_VARIABLE, PathBuf::from(path))));
    let mut values = match file {
        None => Values::resolve(flag, env, None),
        Some((thing, path)) => {
            let unreadable = |why: String| {
                Failure::config_file(format!(
                    "{thing}: {:?} cannot be read: {why}",
                    path.display().to_string()
                ))
            };
            let bytes = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
            Values::resolve(flag, env, Some((&path, &text)))
        }
    };
    for name in unreadable.take() {
        values.not_utf8(&name);
    }
    Ok(values)
}

/// Ends with every error, if there is one.
pub(super) fn checked(values: &Values) -> Result<(), Failure> {
    if values.errors().is_empty() { Ok(()) } else { Err(Failure::config(values.errors())) }
}

/// Variables that are nearly the name of a setting.
pub(super) fn unknown_variables() -> Vec<config::ConfigError> {
    config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}
