//! The command line as clap sees it, generated from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::examples;
use crate::config::settings::{Kind, SETTINGS, Setting};
use crate::report::PRICES_HELP;

/// Settings of the commands that read or publish a topic.
const KAFKA: &[&str] = &[
    "kafka-brokers",
    "kafka-topic",
    "kafka-auth",
    "kafka-entra-scope",
    "kafka-sasl-username",
    "kafka-sasl-password-file",
    "kafka-connection-string-file",
    "kafka-property",
];

/// The whole command line.
pub(super) fn command() -> Command {
    Command::new("tokenweir")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Passes AI streams on untouched, counts their tokens, and publishes one usage event per call.")
        .after_help(format!(
            "{}\n\nExit codes: 0 fine, 1 failed while running, 2 usage, 3 verify found something, 78 bad configuration.",
            examples::help("")
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
    let help = examples::help(command.get_name());
    command.after_help(before + &help)
}

fn serve() -> Command {
    let command = Command::new("serve").about("Forward calls and record what they use").arg(config_file());
    SETTINGS.iter().filter_map(argument).fold(command, Command::arg)
}

fn demo() -> Command {
    Command::new("demo")
        .about("See it all work on this machine: service, callers, outage, kill -9, proof")
        .arg(
            option("seconds", "SECONDS", "How long the callers call")
                .default_value("20")
                .value_parser(value_parser!(u64).range(5..=600)),
        )
}

fn events() -> Command {
    let command = Command::new("events").about("Stored events as JSON lines").arg(config_file());
    with_settings(command, &["ledger"])
        .arg(switch("follow", "Go on with new events until interrupted"))
        .arg(switch("refused", "Only events that the broker refused for good; standard error says why"))
}

fn report() -> Command {
    let command = Command::new("report").about("Tokens by caller and model, from a ledger or from the topic");
    let command = command.arg(config_file());
    with_settings(with_settings(command, &["ledger"]), KAFKA)
        .arg(
            option("by", "KEYS", "Keys of the rows, separated by commas: caller, model, deployment, day, department, cost_center, outcome")
                .default_value("caller,model"),
        )
        .arg(option("from", "TIME", "Only events at or after this instant or UTC day"))
        .arg(option("to", "TIME", "Only events before this instant or UTC day"))
        .arg(file("prices", "CSV of prices: adds cost, currency and unpriced_calls; see below"))
        .after_help(PRICES_HELP)
        .arg(option("format", "FORMAT", "How rows are printed").default_value("table").value_parser(["table", "csv", "json"]))
}

fn verify() -> Command {
    let command = Command::new("verify")
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
        .arg(option("format", "FORMAT", "How it is told").default_value("table").value_parser(["table", "json"]))
        .arg(config_file());
    with_settings(with_settings(command, &["ledger", "control-interval"]), KAFKA)
}

fn drain() -> Command {
    let command = Command::new("drain")
        .about("Publish what a dead instance left; exit 0 only if nothing is left")
        .after_help(
            "Takes the ledger as `serve` does, settles the calls that were cut, and publishes until nothing is left, or until \
             nothing was delivered for --flush-timeout. It may be killed and run again: events keep their ids and bytes.",
        )
        .arg(config_file());
    const LEDGER: &[&str] =
        &["ledger", "ledger-keep", "ledger-max-bytes", "ledger-network-fs", "flush-timeout"];
    with_settings(with_settings(command, LEDGER), KAFKA)
}

fn account() -> Command {
    with_settings(
        Command::new("account")
            .about("Recompute usage from recorded exchanges, offline")
            .after_help(ACCOUNT_HELP)
            .arg(config_file()),
        &["end-of-turn"],
    )
    .arg(
        option("explain", "FORMAT", "Say how each number came about, part by part: text for people, json as a member `explain` of each line, auto by whether a terminal reads it")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("auto")
            .value_parser(["auto", "text", "json"]),
    )
    .arg(input("Exchanges; without it, or with -, standard input"))
}

/// What `account` reads and writes.
const ACCOUNT_HELP: &str = "\
Each line is an exchange, a JSON object with

  id             a text that names it
  api            chat, completions, embeddings or responses
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
    Command::new("count")
        .about("Tokens of a text")
        .arg(option("model", "MODEL", "The model whose tokens are counted").required(true))
        .arg(input("The text; without it, or with -, standard input"))
}

fn check() -> Command {
    let command = Command::new("check").about("Check a configuration; all errors at once");
    let command = command
        .arg(config_file())
        .arg(switch("print", "Print the settings in force and where they come from"));
    SETTINGS.iter().filter_map(argument).fold(command, Command::arg)
}

fn schema() -> Command {
    let help = "event: a whole CloudEvent of any of the three types; config: the file that --config names; exchange: a line \
                that `account` reads";
    let of =
        Arg::new("of").value_name("OF").default_value("event").value_parser(["event", "config", "exchange"]);
    Command::new("schema")
        .about("JSON Schema of the events, of the configuration file, or of a recorded exchange")
        .arg(of.help(help))
}

fn health() -> Command {
    let command = Command::new("health")
        .about("Exit 0 if the sidecar is alive: for a container's HEALTHCHECK")
        .arg(option(
            "url",
            "URL",
            "What to ask [default: /livez at admin-listen, on loopback if that is every interface]",
        ))
        .arg(config_file());
    with_settings(command, &["admin-listen"])
}

fn with_settings(command: Command, names: &[&str]) -> Command {
    let chosen = SETTINGS.iter().filter(|setting| names.contains(&setting.name));
    chosen.filter_map(argument).fold(command, Command::arg)
}

/// The flag of a setting. Values are checked later, with those of the other layers.
fn argument(setting: &'static Setting) -> Option<Arg> {
    setting.flag()?;
    let allowed = match setting.kind {
        Kind::Path | Kind::Address => String::new(),
        kind => format!(" [{}]", kind.allowed()),
    };
    let default = setting.default.map_or(String::new(), |value| format!(" [default: {value}]"));
    let help = format!("{}{allowed}{default} [env: {}]", setting.help, setting.env());
    let argument = option(setting.name, "VALUE", help);
    Some(match setting.kind {
        Kind::Repeated(_) => argument.action(ArgAction::Append),
        _ => argument,
    })
}

fn option(name: &'static str, value: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A flag that names a file, whatever bytes its name has.
fn file(name: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    option(name, "FILE", help).value_parser(value_parser!(PathBuf))
}

fn config_file() -> Arg {
    file("config", "Flat TOML with any of the settings; flags and environment win [env: TOKENWEIR_CONFIG]")
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
