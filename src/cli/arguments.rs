//! The arguments that commands are built of: flags of settings, words, files.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, ValueHint, value_parser};
use strum::VariantNames;

use super::subcommand::Subcommand;
use crate::config::CONFIG_VARIABLE;
use crate::config::settings::{
    AnySetting, KAFKA_AUTH, KAFKA_BROKERS, KAFKA_CONNECTION_STRING_FILE, KAFKA_ENTRA_SCOPE, KAFKA_PROPERTY,
    KAFKA_SASL_PASSWORD_FILE, KAFKA_SASL_USERNAME, KAFKA_TOPIC, Kind, SETTINGS,
};

/// Settings of the commands that read or publish a topic.
pub(super) const KAFKA: &[&AnySetting] = &[
    KAFKA_BROKERS.any(),
    KAFKA_TOPIC.any(),
    KAFKA_AUTH.any(),
    KAFKA_ENTRA_SCOPE.any(),
    KAFKA_SASL_USERNAME.any(),
    KAFKA_SASL_PASSWORD_FILE.any(),
    KAFKA_CONNECTION_STRING_FILE.any(),
    KAFKA_PROPERTY.any(),
];

pub(super) fn named(command: Subcommand) -> Command {
    Command::new(command.name())
}

pub(super) fn with_settings(command: Command, settings: &[&AnySetting]) -> Command {
    // In the order of the table.
    let chosen = SETTINGS.iter().filter(|known| settings.iter().any(|setting| setting.name == known.name));
    let chosen = chosen.copied();
    chosen.filter_map(argument).fold(command, Command::arg)
}

/// The flag of a setting. Values are checked later, with those of the other layers.
pub(super) fn argument(setting: &'static AnySetting) -> Option<Arg> {
    setting.flag()?;
    let (value, hint) = value_of(setting);
    let allowed = match setting.kind {
        // The name of the value says it.
        Kind::Path | Kind::Address | Kind::Repeated(_) => String::new(),
        kind => format!(" [{}]", kind.allowed()),
    };
    let default = setting.default.map_or(String::new(), |value| format!(" [default: {value}]"));
    let help = format!("{}{allowed}{default} [env: {}]", setting.help, setting.env());
    let argument = Arg::new(setting.name).long(setting.name).value_name(value).value_hint(hint).help(help);
    let argument = argument.help_heading(setting.heading);
    Some(match setting.kind {
        Kind::Repeated(_) | Kind::List(_) => argument.action(ArgAction::Append),
        _ => argument,
    })
}

/// The name of a setting's value in `--help`, and what a shell may complete it by.
fn value_of(setting: &AnySetting) -> (&'static str, ValueHint) {
    let name = match setting.kind {
        Kind::Address => "HOST:PORT",
        Kind::Choice(_) => "WORD",
        Kind::Count(..) => "NUMBER",
        Kind::Time(..) => "TIME",
        Kind::Size(..) => "SIZE",
        Kind::Share => "PERCENT",
        Kind::Path if setting.name.ends_with("-file") => return ("FILE", ValueHint::FilePath),
        Kind::Path => return ("DIR", ValueHint::DirPath),
        Kind::Text(_) | Kind::Secret => "TEXT",
        Kind::List(_) => "LIST",
        Kind::Repeated(note) => note,
    };
    (name, ValueHint::Other)
}

pub(super) fn option(
    name: &'static str,
    value: &'static str,
    help: impl Into<clap::builder::StyledStr>,
) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A value that is one of the words of a `T`.
pub(super) fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantNames + FromStr<Err = strum::ParseError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS)
        .try_map(|word| word.parse::<T>().map_err(|error| error.to_string()))
}

/// A flag that names a file, for any bytes in its name.
pub(super) fn file(name: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    option(name, "FILE", help).value_parser(value_parser!(PathBuf))
}

pub(super) fn config_file() -> Arg {
    let help =
        format!("Flat TOML with any of the settings; flags and environment win [env: {CONFIG_VARIABLE}]");
    file("config", help)
}

pub(super) fn input(help: &'static str) -> Arg {
    Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}
