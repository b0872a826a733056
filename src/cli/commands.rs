//! The command line as clap sees it, generated from the table of settings.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, value_parser};
use strum::VariantNames;

use super::offline::{ExplainFor, SchemaOf};
use super::subcommand::{Subcommand, examples_help};
use crate::config::CONFIG_VARIABLE;
use crate::config::settings::{
    ADMIN_LISTEN, AnySetting, CONTROL_INTERVAL, END_OF_TURN, FLUSH_TIMEOUT, KAFKA_AUTH, KAFKA_BROKERS,
    KAFKA_CONNECTION_STRING_FILE, KAFKA_ENTRA_SCOPE, KAFKA_PROPERTY, KAFKA_SASL_PASSWORD_FILE,
    KAFKA_SASL_USERNAME, KAFKA_TOPIC, Kind, LEDGER, LEDGER_KEEP, LEDGER_MAX_BYTES, LEDGER_NETWORK_FS,
    SETTINGS,
};
use crate::report::{Format, GroupBy, PRICES_HELP, VerdictFormat};

/// Settings of the commands that read or publish a topic.
const KAFKA: &[&AnySetting] = &[
    KAFKA_BROKERS.any(),
    KAFKA_TOPIC.any(),
    KAFKA_AUTH.any(),
    KAFKA_ENTRA_SCOPE.any(),
    KAFKA_SASL_USERNAME.any(),
    KAFKA_SASL_PASSWORD_FILE.any(),
    KAFKA_CONNECTION_STRING_FILE.any(),
    KAFKA_PROPERTY.any(),
];

/// The whole command line.
pub(super) fn command() -> Command {
    Command::new("tokenweir")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Passes AI streams on untouched, counts their tokens, and publishes one usage event per call.")
        .after_help(format!(
            "{}\n\nExit codes: 0 fine, 1 failed while running, 2 usage, 3 verify found something, 78 bad configuration.",
            examples_help("")
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(
            [serve(), demo(), events(), report(), verify(), drain(), account(), count(), check(), schema(), health()]
                .map(with_examples),
        )
}

/// Every command ends with lines that can be copied.
fn with_examples(command: Command) -> Command {
    let before = command.get_after_help().map_or(String::new(), |text| format!("{text}\n\n"));
    let help = examples_help(command.get_name());
    command.after_help(before + &help)
}

fn named(command: Subcommand) -> Command {
    Command::new(command.name())
}

fn serve() -> Command {
    let command = named(Subcommand::Serve).about("Forward calls and record what they use").arg(config_file());
    SETTINGS.iter().copied().filter_map(argument).fold(command, Command::arg)
}

fn demo() -> Command {
    named(Subcommand::Demo)
        .about("See it all work on this machine: service, callers, outage, kill -9, proof")
        .arg(
            option("seconds", "SECONDS", "How long the callers call")
                .default_value("20")
                .value_parser(value_parser!(u64).range(5..=600)),
        )
}

fn events() -> Command {
    let command = named(Subcommand::Events).about("Stored events as JSON lines").arg(config_file());
    with_settings(command, &[&LEDGER])
        .arg(switch("follow", "Go on with new events until interrupted"))
        .arg(switch("refused", "Only events that the broker refused for good; standard error says why"))
}

fn report() -> Command {
    let command =
        named(Subcommand::Report).about("Tokens by caller and model, from a ledger or from the topic");
    let command = command.arg(config_file());
    with_settings(with_settings(command, &[&LEDGER]), KAFKA)
        .arg(
            option("by", "KEYS", format!("Keys of the rows, separated by commas: {}", GroupBy::words()))
                .default_value("caller,model"),
        )
        .arg(option("from", "TIME", "Only events at or after this instant or UTC day"))
        .arg(option("to", "TIME", "Only events before this instant or UTC day"))
        .arg(file("prices", "CSV of prices: adds cost, currency and unpriced_calls; see below"))
        .after_help(PRICES_HELP)
        .arg(
            option("format", "FORMAT", "How rows are printed")
                .default_value(<&str>::from(Format::default()))
                .value_parser(one_of::<Format>()),
        )
}

fn verify() -> Command {
    let command = named(Subcommand::Verify)
        .about("Prove that no event is missing, doubled, altered, refused or open; exit 3 if one is")
        .after_help(
            "Reads a ledger, a topic (--kafka-brokers) or FILE, and holds every event against its sequence and its control \
             event. In a ledger or a topic, what retention took is not missing. A topic is read to the end that it has at the \
             start; rows without a control event yet are told, and are no fault.\n\n\
             Exit codes: 0 nothing was found, 1 the input could not be read, 3 something was found.",
        )
        .arg(input("JSON lines, as `tokenweir events` prints them; - is standard input"))
        .arg(switch("allow-repeats", "Only count repeats with equal bytes: delivery is at least once"))
        .arg(switch("allow-open", "A boot that still runs is no finding; one that was never closed is"))
        .arg(switch("allow-cut", "FILE begins in the middle: what lies before its first event is not missing"))
        .arg(option("format", "FORMAT", "How it is told").default_value(<&str>::from(VerdictFormat::default())).value_parser(one_of::<VerdictFormat>()))
        .arg(config_file());
    with_settings(with_settings(command, &[&LEDGER, &CONTROL_INTERVAL]), KAFKA)
}

fn drain() -> Command {
    let command = named(Subcommand::Drain)
        .about("Publish what a dead instance left; exit 0 only if nothing is left")
        .after_help(
            "Takes the ledger as `serve` does, settles the calls that were cut, and publishes until nothing is left, or until \
             nothing was delivered for --flush-timeout. It may be killed and run again: events keep their ids and bytes.",
        )
        .arg(config_file());
    let ledger: [&AnySetting; 5] =
        [&LEDGER, &LEDGER_KEEP, &LEDGER_MAX_BYTES, &LEDGER_NETWORK_FS, &FLUSH_TIMEOUT];
    with_settings(with_settings(command, &ledger), KAFKA)
}

fn account() -> Command {
    with_settings(
        named(Subcommand::Account)
            .about("Recompute usage from recorded exchanges, offline")
            .after_help(ACCOUNT_HELP)
            .arg(config_file()),
        &[&END_OF_TURN],
    )
    .arg(
        option("explain", "FORMAT", "Say how each number came about, part by part: text for people, json as a member `explain` of each line, auto by whether a terminal reads it")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(<&str>::from(ExplainFor::Auto))
            .value_parser(one_of::<ExplainFor>()),
    )
    .arg(input("Exchanges; without it, or with -, standard input"))
}

/// The lines that `account` reads and writes.
const ACCOUNT_HELP: &str = "\
Each line is an exchange, a JSON object with

  id             a text that names it
  api            chat, completions, embeddings, responses or messages
  request        the body that was sent, as JSON
  response_kind  json, or sse for a stream
  response_body  the body that came back, as one text; what is no text goes into
                 response_body_base64 instead

and, if they are known, azure (true or false), model, deployment, api_version and status. Other members are ignored. \
`tokenweir schema exchange` is the JSON Schema of a line.

Each line gives one, in the same order: computed (what we would say had the service reported nothing), reported, the \
quality of what is computed, and the event that `serve` would have written. A line that is no exchange gives id and \
error, and exit code 1 at the end.";

fn count() -> Command {
    named(Subcommand::Count)
        .about("Tokens of a text")
        .arg(option("model", "MODEL", "The model whose tokens are counted").required(true))
        .arg(input("The text; without it, or with -, standard input"))
}

fn check() -> Command {
    let command = named(Subcommand::Check).about("Check a configuration; all errors at once");
    let command = command
        .arg(config_file())
        .arg(switch("print", "Print the settings in force and where they come from"));
    SETTINGS.iter().copied().filter_map(argument).fold(command, Command::arg)
}

fn schema() -> Command {
    let help = "event: a whole CloudEvent of any of the three types; config: the file that --config names; exchange: a line \
                that `account` reads";
    let of = Arg::new("of")
        .value_name("OF")
        .default_value(<&str>::from(SchemaOf::default()))
        .value_parser(one_of::<SchemaOf>());
    named(Subcommand::Schema)
        .about("JSON Schema of the events, of the configuration file, or of a recorded exchange")
        .arg(of.help(help))
}

fn health() -> Command {
    let command = named(Subcommand::Health)
        .about("Exit 0 if the sidecar is alive: for a container's HEALTHCHECK")
        .arg(option(
            "url",
            "URL",
            "What to ask [default: /livez at admin-listen, on loopback if that is every interface]",
        ))
        .arg(config_file());
    with_settings(command, &[&ADMIN_LISTEN])
}

fn with_settings(command: Command, settings: &[&AnySetting]) -> Command {
    // In the order of the table.
    let chosen = SETTINGS.iter().filter(|known| settings.iter().any(|setting| setting.name == known.name));
    let chosen = chosen.copied();
    chosen.filter_map(argument).fold(command, Command::arg)
}

/// The flag of a setting. Values are checked later, with those of the other layers.
fn argument(setting: &'static AnySetting) -> Option<Arg> {
    setting.flag()?;
    let allowed = match setting.kind {
        Kind::Path | Kind::Address => String::new(),
        kind => format!(" [{}]", kind.allowed()),
    };
    let default = setting.default.map_or(String::new(), |value| format!(" [default: {value}]"));
    let help = format!("{}{allowed}{default} [env: {}]", setting.help, setting.env());
    let argument = option(setting.name, "VALUE", help);
    Some(match setting.kind {
        Kind::Repeated(_) | Kind::List(_) => argument.action(ArgAction::Append),
        _ => argument,
    })
}

fn option(name: &'static str, value: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A value that is one of the words of a `T`.
fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantNames + FromStr<Err = strum::ParseError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS)
        .try_map(|word| word.parse::<T>().map_err(|error| error.to_string()))
}

/// A flag that names a file, for any bytes in its name.
fn file(name: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    option(name, "FILE", help).value_parser(value_parser!(PathBuf))
}

fn config_file() -> Arg {
    let help =
        format!("Flat TOML with any of the settings; flags and environment win [env: {CONFIG_VARIABLE}]");
    file("config", help)
}

fn input(help: &'static str) -> Arg {
    Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_secret_has_no_flag() {
        let help = command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(help.contains("--kafka-sasl-password-file"));
        assert!(!help.contains("--kafka-sasl-password "), "{help}");
    }
}
