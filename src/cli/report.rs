//! `report`: usage added up by keys.

use std::path::PathBuf;

use clap::{ArgMatches, Command};

use super::arguments::{KAFKA, config_file, file, named, one_of, option, with_settings};
use super::failure::{self, Done, Failure};
use super::inputs::{input, of_ledger};
use super::layers::values;
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::LEDGER;
use crate::report::{self, Format, GroupBy, PRICES_HELP, Prices, ReportError, ReportOptions};

pub(super) fn command() -> Command {
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

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
        given.map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let by = text("by").split(',').map(|key| key.trim().parse()).collect::<Result<_, ReportError>>();
    let by = by.map_err(|error| Failure::usage(format!("--by: {error}")))?;
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage(format!(
            "--to {} is not after --from {}: no event can be between them",
            text("to"),
            text("from")
        )));
    }
    let format = matches.get_one::<Format>("format").copied().unwrap_or_default();
    let prices = matches.get_one::<PathBuf>("prices").map(|path| Prices::read(path)).transpose();
    let prices = prices.map_err(|error| {
        Failure::usage(format!("--prices: {}", error.to_string().replace('\n', "\n  "))).alone()
    })?;
    let options =
        ReportOptions { input: input(&mut values, "; or a topic: --kafka-brokers")?, by, from, to, prices };
    let report = report::report(&options).map_err(|error| of_ledger(&values, error))?;
    if let Some(unpriced) = report.unpriced_text() {
        failure::warn(Subcommand::Report, &unpriced);
    }
    if let Some(repeated) = report.repeated_bills_text() {
        failure::warn(Subcommand::Report, &repeated);
    }
    to_stdout(|out| report.write(format, out))
}
