//! `verify`: the proof that no event is missing, and that none is altered.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, ArgMatches, Command};
use jiff::Timestamp;

use super::arguments::{config_file, file, named, one_of, option, switch, with_settings};
use super::content_keys::{is_opening, unwrap, with_keys};
use super::failure::{Done, FOUND, Failure, INCOMPLETE};
use super::inputs::{inputs, of_ledger, with_inputs};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::capture::CAPTURE_DATABASE;
use crate::config;
use crate::config::Values;
use crate::config::settings::{CAPTURE_TOPIC, CONTROL_HMAC_KEY_FILE, CONTROL_INTERVAL};
use crate::report::{self, ContentInputs, Input, VerdictFormat, VerifyOptions};

/// The argument that names the content, and the word for the capture topic.
const CONTENT: &str = "content";
const TOPIC: &str = "topic";

pub(super) fn command() -> Command {
    let command = named(Subcommand::Verify)
        .about("Prove that no event is missing, doubled, altered, refused or open; exit 3 if one is")
        .after_help(
            "Reads ledgers, a topic (--kafka-brokers) and FILEs, and holds every event against its sequence and its control \
             event. In a ledger or a topic, what retention took is not missing. A topic is read to the end that it has at the \
             start; rows without a control event yet are told, and are no fault. The digest of a control event shows any row \
             that is not as it was stored. With the key that signed the control events (--control-hmac-key-file) such a row \
             is called forged, and a control event without a signature is a finding.\n\n\
             With --from or --to only boots and control periods are judged that touch that time, each as a whole. Give the \
             events of some control intervals before and after, or --allow-cut.\n\n\
             With --content the parts of captured content are held against the usage events and their own control events, and \
             every part that is missing, altered, swapped or of no known call is named. With --key or --unwrap-command each \
             part is opened too. Parts that come twice are counted. A call is of the time of its usage event, and with --from or --to \
             it is judged with all of its parts, whenever they were sealed; a call without one is of the time of its parts. With \
             --allow-cut calls that had begun before the first content that is left may lack parts.\n\n\
             Exit codes: 0 nothing was found, 1 the input could not be read, 3 something was found, 4 a file could not be \
             read to its end.",
        )
        .arg(switch("allow-repeats", "Only count repeats with equal bytes: delivery is at least once"))
        .arg(switch("allow-open", "A boot that still runs is no finding; one that was never closed is"))
        .arg(switch("allow-cut", "FILE, or what --content names, begins in the middle: what lies before its first event is not missing"))
        .arg(switch("allow-re-rendered", "Only count events whose bytes an engine has rendered anew, if the digest proves them"))
        .arg(option("from", "TIME", "Judge from this instant or UTC day on"))
        .arg(option("to", "TIME", "Judge up to this instant or UTC day, exclusive"))
        .arg(file("expect-sources", "File with the ledgers of which there must be events, one source a line"))
        .arg(option("format", "FORMAT", "How it is told").default_value(<&str>::from(VerdictFormat::default())).value_parser(one_of::<VerdictFormat>()))
        .arg(switch("wide", "Show every column of a table, and every name whole, whatever the terminal's width"))
        .arg(config_file());
    let content = option(
        CONTENT,
        "WHERE",
        "Verify captured content too: a file or a folder of events of the capture topic, the folder of a spool, or the word topic for the topic itself, \
         at --kafka-brokers; may be given again",
    );
    let command = with_keys(command.arg(content.action(ArgAction::Append)));
    with_inputs(with_settings(command, &[&CONTROL_INTERVAL, &CONTROL_HMAC_KEY_FILE, &CAPTURE_TOPIC]))
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let inputs = inputs(&mut values, matches)?;
    let control_key = config::control_key(&mut values);
    let content = content_inputs(&mut values, matches)?;
    checked(&values)?;
    let (from, to) = range(matches)?;
    let format = matches.get_one::<VerdictFormat>("format").copied().unwrap_or_default();
    let options = VerifyOptions {
        as_of: as_of(&inputs, to),
        control_interval: values.get(&CONTROL_INTERVAL).unwrap_or_default(),
        allow_repeats: matches.get_flag("allow-repeats"),
        allow_open: matches.get_flag("allow-open"),
        allow_cut: matches.get_flag("allow-cut"),
        allow_re_rendered: matches.get_flag("allow-re-rendered"),
        from,
        to,
        expected_sources: expected_sources(matches)?,
        control_key,
        ..VerifyOptions::new(inputs)
    };
    let unwrap = unwrap(matches)?;
    let verdict = if content.is_empty() {
        report::verify(&options)
    } else {
        report::verify_with_content(&options, ContentInputs { inputs: content, unwrap })
    };
    let verdict = verdict.map_err(|error| of_ledger(&values, error))?;
    let columns = report::terminal_columns().filter(|_| !matches.get_flag("wide"));
    to_stdout(|out| match format {
        VerdictFormat::Table => verdict.write_table(columns, out),
        VerdictFormat::Json => verdict.write(format, out),
    })?;
    Ok(match verdict.complete {
        false => ExitCode::from(FOUND),
        true if verdict.unread => ExitCode::from(INCOMPLETE),
        true => ExitCode::SUCCESS,
    })
}

/// The inputs of content; none if it is not verified.
fn content_inputs(values: &mut Values, matches: &ArgMatches) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for place in matches.get_many::<String>(CONTENT).into_iter().flatten() {
        if place != TOPIC {
            let place = PathBuf::from(place);
            let is_spool = place.join(CAPTURE_DATABASE).is_file();
            inputs.push(if is_spool { Input::Spool(place) } else { Input::Files(place) });
            continue;
        }
        let topic = config::publish_config(values);
        checked(values)?;
        let Some(mut topic) = topic else {
            return Err(Failure::usage(
                "--content topic: give the brokers of the capture topic, --kafka-brokers",
            ));
        };
        topic.topic = values.get(&CAPTURE_TOPIC).unwrap_or_default();
        inputs.push(Input::Topic(topic));
    }
    if inputs.is_empty() && is_opening(matches) {
        return Err(Failure::usage("--key and --unwrap-command open content: give --content too"));
    }
    Ok(inputs)
}

/// The range that is judged.
fn range(matches: &ArgMatches) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
        given.map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage("--to is not after --from: no event can be between them"));
    }
    Ok((from, to))
}

/// When the events are read, if a sidecar that runs would still write to one of the inputs.
pub(super) fn as_of(inputs: &[Input], to: Option<Timestamp>) -> Option<Timestamp> {
    let now = Timestamp::now();
    let goes_on = inputs.iter().any(|input| matches!(input, Input::Ledger(_) | Input::Topic(_)));
    match to {
        None => goes_on.then_some(now),
        Some(to) => Some(to.min(now)),
    }
}

/// The sources of a list, one a line; a ledger's UUID alone will do. `#` begins a remark.
pub(super) fn expected_sources(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let Some(path) = matches.get_one::<PathBuf>("expect-sources") else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("--expect-sources {}: {error}", path.display())))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let sources: Vec<String> = lines.filter(|line| !line.is_empty()).map(source).collect();
    if sources.is_empty() {
        return Err(Failure::usage(format!("--expect-sources {}: it names no source", path.display())));
    }
    Ok(sources)
}

fn source(text: &str) -> String {
    if text.starts_with("//") { text.to_owned() } else { format!("//tokenweir/{text}") }
}
