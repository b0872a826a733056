//! `verify`: the proof that no event is missing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::arguments::{
    KAFKA, config_file, input as input_file, named, one_of, option, switch, with_settings,
};
use super::failure::{Done, FOUND, Failure};
use super::inputs::{input, of_ledger};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::{CONTROL_INTERVAL, LEDGER};
use crate::ledger::DATABASE;
use crate::report::{self, Input, VerdictFormat, VerifyOptions};

pub(super) fn command() -> Command {
    let command = named(Subcommand::Verify)
        .about("Prove that no event is missing, doubled, altered, refused or open; exit 3 if one is")
        .after_help(
            "Reads a ledger, a topic (--kafka-brokers) or FILE, and holds every event against its sequence and its control \
             event. In a ledger or a topic, what retention took is not missing. A topic is read to the end that it has at the \
             start; rows without a control event yet are told, and are no fault.\n\n\
             Exit codes: 0 nothing was found, 1 the input could not be read, 3 something was found.",
        )
        .arg(input_file("JSON lines, as `tokenweir events` prints them; - is standard input"))
        .arg(switch("allow-repeats", "Only count repeats with equal bytes: delivery is at least once"))
        .arg(switch("allow-open", "A boot that still runs is no finding; one that was never closed is"))
        .arg(switch("allow-cut", "FILE begins in the middle: what lies before its first event is not missing"))
        .arg(option("format", "FORMAT", "How it is told").default_value(<&str>::from(VerdictFormat::default())).value_parser(one_of::<VerdictFormat>()))
        .arg(config_file());
    with_settings(with_settings(command, &[&LEDGER, &CONTROL_INTERVAL]), KAFKA)
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let lines = matches.get_one::<PathBuf>("file").cloned();
    let input = match lines {
        Some(path) => Input::Lines(lines_of(path)?),
        None => input(&mut values, "; or a topic: --kafka-brokers; or FILE, or - for standard input")?,
    };
    checked(&values)?;
    let format = matches.get_one::<VerdictFormat>("format").copied().unwrap_or_default();
    let verdict = report::verify(&VerifyOptions {
        input,
        control_interval: values.get(&CONTROL_INTERVAL).unwrap_or_default(),
        allow_repeats: matches.get_flag("allow-repeats"),
        allow_open: matches.get_flag("allow-open"),
        allow_cut: matches.get_flag("allow-cut"),
    });
    let verdict = verdict.map_err(|error| of_ledger(&values, error))?;
    to_stdout(|out| verdict.write(format, out))?;
    Ok(if verdict.complete { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A file of events, which is no directory.
fn lines_of(path: PathBuf) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path);
    }
    let shown = path.display();
    Err(Failure::run(match path.join(DATABASE).is_file() {
        true => format!("{shown} is a ledger; give it as --ledger {shown}"),
        false => {
            format!("{shown} is a directory; give a file of JSON lines, as `tokenweir events` prints them")
        }
    }))
}
