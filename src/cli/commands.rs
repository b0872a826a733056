//! The command line as clap sees it, generated from the table of settings.

use clap::{Arg, Command, value_parser};

use super::arguments::{argument, config_file, input, named, one_of, option, switch, with_settings};
use super::offline::{ExplainFor, SchemaOf};
use super::subcommand::{Subcommand, examples_help};
use super::{drain, events, report, verify};
use crate::config::settings::{ADMIN_LISTEN, END_OF_TURN, SETTINGS};

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
            [serve(), demo(), events::command(), report::command(), verify::command(), drain::command(), account(), count(), check(), schema(), health()]
                .map(with_examples),
        )
}

/// Every command ends with lines that can be copied.
fn with_examples(command: Command) -> Command {
    let before = command.get_after_help().map_or(String::new(), |text| format!("{text}\n\n"));
    let help = examples_help(command.get_name());
    command.after_help(before + &help)
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
