//! The command line as clap sees it, generated from the table of settings.

use std::net::SocketAddr;
use std::sync::OnceLock;

use clap::{Arg, Command, value_parser};

use super::arguments::{argument, config_file, input, named, one_of, option, switch, with_settings};
use super::offline::{ExplainFor, SchemaOf};
use super::subcommand::{Subcommand, examples_help};
use super::{close, drain, events, generated, open, reconcile, report, verify, watch};
use crate::config::settings::{ADMIN_LISTEN, END_OF_TURN, LISTEN, SETTINGS};
use crate::telemetry::BuildInfo;
use crate::{ledger, publish};

/// The command line: of the command that is typed, or whole where none is. A sidecar lives for months and holds what
/// its start has touched, so it does not build what `report` and the others are asked for.
pub(super) fn command(typed: Option<Subcommand>) -> Command {
    let command = match typed {
        Some(_) => Command::new("tokenweir"),
        None => Command::new("tokenweir").long_version(long_version()),
    };
    let typed = typed.map(|typed| vec![typed]);
    command
        .version(BuildInfo::VERSION)
        .about("Passes AI streams on untouched, counts their tokens, and publishes one usage event per call.")
        .after_help(format!(
            "{}\n\nExit codes: 0 fine, 1 failed while running, 2 usage, 3 verify, reconcile, close or open found something, 4 something of the \
             input was left out or the range is not wholly there, 78 bad configuration.",
            examples_help("")
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(typed.unwrap_or_else(Subcommand::all).into_iter().map(subcommand).map(with_examples))
}

/// What `--version` says; `-V` says the first line.
fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let build = BuildInfo::get();
        format!(
            "{}\ncommit {} of {}\n{}\nlibrdkafka {}, SQLite {}",
            BuildInfo::VERSION,
            build.commit(),
            build.committed_at(),
            if build.compiler.is_empty() { "rustc unknown" } else { build.compiler },
            publish::library_version(),
            ledger::library_version(),
        )
    })
}

fn subcommand(command: Subcommand) -> Command {
    match command {
        Subcommand::Serve => serve(),
        Subcommand::Demo => demo(),
        Subcommand::Top => watch::top_command(),
        Subcommand::Tail => watch::tail_command(),
        Subcommand::Events => events::command(),
        Subcommand::Report => report::command(),
        Subcommand::Verify => verify::command(),
        Subcommand::Reconcile => reconcile::command(),
        Subcommand::Close => close::command(),
        Subcommand::Open => open::command(),
        Subcommand::Drain => drain::command(),
        Subcommand::Account => account(),
        Subcommand::Count => count(),
        Subcommand::Check => check(),
        Subcommand::Schema => schema(),
        Subcommand::Health => health(),
        Subcommand::Completions => generated::completions_command(),
        Subcommand::Man => generated::man_command(),
    }
}

/// Every command ends with lines that can be copied.
fn with_examples(command: Command) -> Command {
    let before = command.get_after_help().map_or(String::new(), |text| format!("{text}\n\n"));
    let help = examples_help(command.get_name());
    command.after_help(before + &help)
}

fn serve() -> Command {
    let command = named(Subcommand::Serve)
        .about("Forward calls and record what they use")
        .next_line_help(true)
        .arg(config_file());
    SETTINGS.iter().copied().filter_map(argument).fold(command, Command::arg)
}

/// Says what a terminal and a folder are used for.
const DEMO_HELP: &str = "\
At a terminal, keys break and mend the broker (b), hang up a caller (h), forge a call (f), kill a sidecar with kill -9 (k) \
and start it again (r), or end the demo early (q); what they did stands in the proof. Colours are left out where NO_COLOR \
is set or TERM is dumb. The ledgers of the last run stay in the temporary folder (TMPDIR) until the next one; the demo ends \
with commands that read them. It exits with 1 if a number differs.";

fn demo() -> Command {
    named(Subcommand::Demo)
        .about("See it all work on this machine: service, callers, outage, kill -9, bill, proof")
        .after_help(DEMO_HELP)
        .arg(
            option("seconds", "SECONDS", "How long the callers call [default: 20; 120 with --page]")
                .value_parser(value_parser!(u64).range(5..=600)),
        )
        .arg(switch("page", "Serve the live page of a sidecar meanwhile, and say where"))
        .arg(
            switch(
                "service-only",
                "Run only the service, which answers as Azure OpenAI does, to try `serve` with",
            )
            .conflicts_with_all(["seconds", "page"]),
        )
        .arg(
            option(LISTEN.any().name, "ADDR", "Where that service listens; on loopback")
                .default_value("127.0.0.1:8081")
                .requires("service-only")
                .value_parser(loopback),
        )
}

/// An address of this machine: the service asks for no key that means anything.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text.parse().map_err(|_| "it is an address and a port, such as 127.0.0.1:8081")?;
    match addr.ip().is_loopback() {
        true => Ok(addr),
        false => {
            Err("it is for this machine alone: give an address of loopback, such as 127.0.0.1:8081"
                .to_owned())
        }
    }
}

fn account() -> Command {
    with_settings(
        named(Subcommand::Account)
            .about("Recompute usage from recorded exchanges, offline")
            .after_help(account_help())
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
fn account_help() -> String {
    let apis = metering::account::api_names();
    format!(
        "\
Each line is an exchange, a JSON object with

  id             a text that names it
  api            {apis}
  request        the body that was sent, as JSON: null if there was none, of a
                 form its fields
  response_kind  json, sse for a stream, frames for a WebSocket session, other
                 for what is not read, such as sound
  response_body  the body that came back, as one text; what is no text goes into
                 response_body_base64 instead

and, if they are known, method and target (the path that was called, which tells operations of one API apart), azure \
(true or false), model, deployment, api_version and status. Other members are ignored.

In place of request and body, a session (api realtime or responses) has

  frames         its messages in order, each {{\"from\": \"client\" or \"server\"}} with
                 text, json or binary_base64; and ping, pong, close (a code) and
                 cut (true: that side broke off)

`tokenweir schema exchange` is the JSON Schema of a line, with examples.

Each line gives one, in the same order: computed (what we would say had the service reported nothing), reported, the \
quality of what is computed, and the event that `serve` would have written (null if none). A session has responses, \
with these numbers of each, and events, which are theirs and then its own; the id of the first is ID/1. A line that is \
no exchange gives id and error, and exit code 1 at the end."
    )
}

fn count() -> Command {
    named(Subcommand::Count)
        .about("Tokens of a text")
        .arg(option("model", "MODEL", "The model whose tokens are counted").required(true))
        .arg(input("The text; without it, or with -, standard input"))
}

fn check() -> Command {
    let command =
        named(Subcommand::Check).about("Check a configuration; all errors at once").next_line_help(true);
    let command = command
        .arg(config_file())
        .arg(switch("print", "Print the settings in force and where they come from"))
        .arg(switch(
            "connect",
            "Try everything that a start needs: each service (TCP, TLS, its certificate), the brokers, the login and the topic, \
             the ledger's place, the ports. Nothing is sent, made or kept; exit 1 if something fails",
        ));
    SETTINGS.iter().copied().filter_map(argument).fold(command, Command::arg)
}

fn schema() -> Command {
    let help = "event: a whole CloudEvent of any of the three types; content: one of the capture topic; config: the file that \
                --config names; exchange: a line that `account` reads";
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
        command(None).debug_assert();
    }

    #[test]
    fn a_secret_has_no_flag() {
        let help = command(None).find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(help.contains("--kafka-sasl-password-file"));
        assert!(!help.contains("--kafka-sasl-password "), "{help}");
    }
}
