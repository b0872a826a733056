//! `open`: captured content, for those who have a key.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::arguments::{KAFKA, config_file, named, one_of, option, with_settings};
use super::content_keys::{unwrap, with_keys};
use super::failure::{Done, FOUND, Failure, INCOMPLETE};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::capture::seal::PrivateKeys;
use crate::config::settings::{CAPTURE_DIR, CAPTURE_TOPIC, KAFKA_BROKERS};
use crate::config::{self, Origin, Values};
use crate::report::{
    self, ContentFilter, ContentFormat, ContentOptions, ContentOutput, Input, OpenedContent, ReportError,
};
use crate::serve;
use metering::names;
use metering::usage::ContentSide;

const HELP: &str = "\
Reads the parts in FILEs, in a spool (--capture-dir) and on the capture topic (--kafka-brokers), and opens them with the \
private keys in --key, or with a command that asks an HSM or a vault. The command is run without a shell: blanks part its \
words, quotes keep blanks, and nothing else means anything; {kid} stands for the name of the key. It gets the wrapped key \
(RSA-OAEP-256) as raw bytes on its standard input, and must write the 32 bytes of the content key to its standard output \
within 30 s. It is run once for each key, of which a sidecar makes one a minute.\n\n\
json is a line for each call: what its parts say in the clear, and each side put together for people: messages, text and \
tool calls of chat completions, Messages and Responses; other JSON and text as it is; anything else in base64. raw is the \
bytes as they passed: one side of one call, or with --out a file of each. A call is of the time at which it began.\n\n\
What is given of a side is what passed up to the first part that is missing or cannot be opened; that is said on standard \
error, and in JSON.\n\n\
Exit codes: 0 all is whole, 1 the input could not be read, 3 a part is not what it was, 4 something is missing or cannot \
be opened.";

pub(super) fn command() -> Command {
    let files = Arg::new("file").value_name("FILE").num_args(0..).value_parser(value_parser!(PathBuf)).help(
        "Events of the capture topic as JSON lines, or Avro files of Event Hubs Capture, compressed with gzip or not; a folder of \
         such files; - is standard input",
    );
    let command = named(Subcommand::Open)
        .about("Captured content, for those who have a key: as it passed, or put together for people")
        .after_help(HELP)
        .arg(files)
        .arg(option("call", "ID", "Only the call with this id, which is that of its usage event"))
        .arg(option("caller", "ID", "Only calls of this caller"))
        .arg(option("from", "TIME", "Only calls that began at this instant or UTC day, or later"))
        .arg(option("to", "TIME", "Only calls that began before this instant or UTC day"))
        .arg(
            option("format", "FORMAT", "How it is given")
                .default_value(<&str>::from(ContentFormat::default()))
                .value_parser(one_of::<ContentFormat>()),
        )
        .arg(
            option("side", "SIDE", "With --format raw: which side of the call")
                .value_parser(one_of::<ContentSide>()),
        )
        .arg(
            option(
                "out",
                "DIR",
                "With --format raw: a folder that gets a file of each side, CALL.request and CALL.response",
            )
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("side"),
        )
        .arg(config_file());
    let settings = [KAFKA, &[CAPTURE_TOPIC.any(), CAPTURE_DIR.any()]].concat();
    with_settings(with_keys(command), &settings)
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    // Keys and content are in this process: a core dump would hold both. Where the system does not let it be forbidden,
    // whoever has a key may read on all the same.
    let _ = serve::hide_memory();
    let mut values = values(matches)?;
    let inputs = inputs(&mut values, matches)?;
    let options = ContentOptions { inputs, filter: filter(matches)?, output: output(matches)? };
    // Without a key only what was not sealed can be read, and the rest says so.
    let mut unwrap = unwrap(matches)?.unwrap_or_else(|| Box::new(PrivateKeys::default()));
    let mut opened = None;
    let written = to_stdout(|out| -> Result<(), ReportError> {
        let notes = &mut io::stderr();
        // People at a terminal are shown nothing that it would obey; a program gets every byte.
        let is_shown = io::stdout().is_terminal() && options.output == ContentOutput::Lines;
        opened = Some(match is_shown {
            true => report::open_content(&options, &mut unwrap, names::Json(out), notes),
            false => report::open_content(&options, &mut unwrap, out, notes),
        }?);
        Ok(())
    })?;
    // A reader that has left, such as `head`, has seen what it wanted.
    opened.map_or(Ok(written), |opened| exit_code(&options.filter, &opened))
}

fn exit_code(filter: &ContentFilter, opened: &OpenedContent) -> Done {
    if opened.calls == 0 && filter.call.is_some() {
        return Err(Failure::run("no part of that call is in the input").alone());
    }
    Ok(match opened {
        OpenedContent { is_altered: true, .. } => ExitCode::from(FOUND),
        OpenedContent { is_incomplete: true, .. } => ExitCode::from(INCOMPLETE),
        _ => ExitCode::SUCCESS,
    })
}

/// The inputs that flags and arguments name, all of them; if they name none, settings name the topic or else the spool.
fn inputs(values: &mut Values, matches: &ArgMatches) -> Result<Vec<Input>, Failure> {
    let files = matches.get_many::<PathBuf>("file").into_iter().flatten().cloned().map(Input::Files);
    let mut inputs: Vec<Input> = files.collect();
    let is_flag = |values: &Values, setting| values.origin(setting) == Some(Origin::Flag);
    let (is_topic, is_spool) = (is_flag(values, KAFKA_BROKERS.any()), is_flag(values, CAPTURE_DIR.any()));
    let is_named = !inputs.is_empty() || is_topic || is_spool;
    let topic = if is_topic || !is_named { config::publish_config(values) } else { None };
    checked(values)?;
    let spool = values.get(&CAPTURE_DIR).filter(|_| is_spool || (!is_named && topic.is_none()));
    inputs.extend(spool.map(Input::Spool));
    if let Some(mut topic) = topic {
        topic.topic = values.get(&CAPTURE_TOPIC).unwrap_or_default();
        inputs.push(Input::Topic(topic));
    }
    if inputs.is_empty() {
        return Err(Failure::usage(
            "no content is named; give FILE, or - for standard input; or --capture-dir DIR; or a topic: --kafka-brokers",
        ));
    }
    Ok(inputs)
}

fn filter(matches: &ArgMatches) -> Result<ContentFilter, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
        given.map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let filter =
        ContentFilter { call: text("call"), caller: text("caller"), from: time("from")?, to: time("to")? };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage("--to is not after --from: no call can be between them"));
    }
    Ok(filter)
}

fn output(matches: &ArgMatches) -> Result<ContentOutput, Failure> {
    let format = matches.get_one::<ContentFormat>("format").copied().unwrap_or_default();
    let side = matches.get_one::<ContentSide>("side").copied();
    let folder = matches.get_one::<PathBuf>("out").cloned();
    match (format, side, folder) {
        (ContentFormat::Json, None, None) => Ok(ContentOutput::Lines),
        (ContentFormat::Json, ..) => Err(Failure::usage("--side and --out go with --format raw")),
        (ContentFormat::Raw, Some(side), _) => Ok(ContentOutput::Side(side)),
        (ContentFormat::Raw, _, Some(folder)) => Ok(ContentOutput::Folder(folder)),
        (ContentFormat::Raw, None, None) => {
            Err(Failure::usage("--format raw needs --side request or --side response, or --out DIR"))
        }
    }
}
