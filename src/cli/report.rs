//! `report`: usage added up by keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::arguments::{config_file, file, named, one_of, option, switch};
use super::cost::{PRICES, caller_map, cost_files, with_cost};
use super::failure::{self, Done, Failure, INCOMPLETE};
use super::focus::{FOCUS_HELP, focus_options, with_focus};
use super::inputs::{inputs, of_ledger, with_inputs};
use super::layers::values;
use super::output::{is_terminal, to_file, to_stdout};
use super::subcommand::Subcommand;
use crate::report::{
    self, Calendar, EXPAND_HELP, Format, GroupBy, Omissions, PRICES_HELP, PTU_HELP, RATES_HELP, Rendering,
    ReportError, ReportOptions,
};

const EXPAND: &str = "expand";

/// Says for `--help` what the rows of a report are.
const ROWS_HELP: &str = "\
Every event counts once, by its time: when the numbers of the call became final. By class, an event has a share in \
the row of each class that it used, as price tables name them, and counts among the calls of each of these rows; \
what is not known of it, and a call that used nothing, have rows too. The total counts each call once. The columns \
are explained in docs/reports.md.";

/// When a report is complete, for `--help`.
const COMPLETE_HELP: &str = "\
Whatever is left out of an input is counted by its reason on standard error and in JSON, and so is what of the range \
from --from to --to is not there: then the exit code is 4. docs/commands.md says when.";

pub(super) fn command() -> Command {
    let command =
        named(Subcommand::Report).about("Tokens by caller and model, from files, ledgers or the topic");
    with_focus(with_cost(with_inputs(command.arg(config_file()))))
        .arg(
            option("by", "KEYS", format!("Keys of the rows, separated by commas: {}", GroupBy::words()))
                .default_value("caller,model"),
        )
        .arg(option(
            "from",
            "TIME",
            "Only events at or after this instant, or the beginning of this day or month",
        ))
        .arg(option("to", "TIME", "Only events before this instant, or the beginning of this day or month"))
        .arg(
            option("time-zone", "ZONE", "Time zone of days, weeks, months and hours, such as Europe/Berlin")
                .default_value("UTC"),
        )
        .arg(
            file(
                EXPAND,
                "Write the prices as a flat table to this file, or - for standard output; see below",
            )
            .requires(PRICES),
        )
        .after_help(
            [ROWS_HELP, COMPLETE_HELP, PRICES_HELP, RATES_HELP, PTU_HELP, EXPAND_HELP, FOCUS_HELP]
                .join("\n\n"),
        )
        .arg(
            option("format", "FORMAT", "How rows are written")
                .default_value(<&str>::from(Format::default()))
                .value_parser(one_of::<Format>()),
        )
        .arg(switch(
            "total",
            "End CSV and Parquet with the total too; a table has it anyway, JSON beside the lines",
        ))
        .arg(switch(
            "wide",
            "Show every column of a table, and every name whole, whatever the terminal's width",
        ))
        .arg(file(
            "out",
            "Write to this file, which is replaced once all is written; without it, to standard output",
        ))
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let rendering = rendering(matches)?;
    let by = keys(matches, rendering.format)?;
    let calendar = Calendar::of_zone(text(matches, "time-zone"));
    let calendar = calendar.map_err(|error| Failure::usage(format!("--time-zone: {error}")))?;
    let (from, to) = span(matches, &calendar)?;
    let (cost, caller_map) = (cost_files(matches)?, caller_map(matches)?);
    if rendering.format == Format::Focus && cost.prices.is_none() && cost.ptu.is_none() {
        return Err(Failure::usage("--format focus is of costs: give --prices or --ptu-cost"));
    }
    let inputs = inputs(&mut values, matches)?;
    let views = rendering.format.views();
    let options = ReportOptions { inputs, by, views, calendar, from, to, cost, caller_map };
    if let Some(path) = matches.get_one::<PathBuf>(EXPAND) {
        return expand(path, &options);
    }
    let report = report::report(&options).map_err(|error| of_ledger(&values, error))?;
    if let Some(unpriced) = report.unpriced_text() {
        failure::warn(Subcommand::Report, &unpriced);
    }
    if let Some(repeated) = report.repeated_bills_text() {
        failure::warn(Subcommand::Report, &repeated);
    }
    for note in report.cost.notes.iter().chain(&report.cost.versions.text()) {
        failure::warn(Subcommand::Report, note);
    }
    for text in report.completeness.texts("--format json names them") {
        failure::warn(Subcommand::Report, &text);
    }
    if rendering.format == Format::Focus {
        failure::warn(Subcommand::Report, report::DOUBLE_COUNT);
    }
    match matches.get_one::<PathBuf>("out") {
        Some(path) => to_file(path, |out| report.write(&rendering, out))?,
        None => to_stdout(|out| report.write(&rendering, out))?,
    };
    let is_whole = report.completeness.is_whole();
    // Rows of FOCUS leave out what has no price.
    let is_told = rendering.format != Format::Focus || report.unpriced.is_empty();
    Ok(if is_whole && is_told { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Writes the prices as a flat table.
fn expand(path: &Path, options: &ReportOptions) -> Done {
    for note in options.cost.notes() {
        failure::warn(Subcommand::Report, note);
    }
    let mut omissions = Omissions::default();
    let mut expand =
        |out: &mut dyn Write| report::expand_prices(options, out).map(|left_out| omissions = left_out);
    match path.as_os_str() == "-" {
        true => to_stdout(|out| expand(out)),
        false => to_file(path, |out| expand(out)),
    }?;
    for text in omissions.texts() {
        failure::warn(Subcommand::Report, &text);
    }
    Ok(if omissions.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// The keys of the rows: those that are asked for, unless the format has its own.
fn keys(matches: &ArgMatches, format: Format) -> Result<Vec<GroupBy>, Failure> {
    let is_asked = matches.value_source("by") == Some(ValueSource::CommandLine);
    match format.keys() {
        Some(_) if is_asked => {
            let format = <&str>::from(format);
            Err(Failure::usage(format!("--format {format} has keys of its own: leave --by out")))
        }
        Some(keys) => Ok(keys),
        None => GroupBy::list(text(matches, "by")).map_err(|error| Failure::usage(format!("--by: {error}"))),
    }
}

/// Reads how the report is written. A terminal is not sent what it cannot show.
fn rendering(matches: &ArgMatches) -> Result<Rendering, Failure> {
    let format = matches.get_one::<Format>("format").copied().unwrap_or_default();
    let to_stdout = matches.get_one::<PathBuf>("out").is_none();
    if format.is_for_files() && to_stdout && is_terminal() {
        let format = <&str>::from(format);
        return Err(Failure::usage(format!(
            "--format {format} is not for a terminal: give --out FILE, or redirect standard output"
        )));
    }
    let columns = if to_stdout { report::terminal_columns() } else { None };
    let (total, wide, focus) = (matches.get_flag("total"), matches.get_flag("wide"), focus_options(matches));
    Ok(Rendering { format, total, wide, columns, focus })
}

/// The time that is asked for.
fn span(
    matches: &ArgMatches,
    calendar: &Calendar,
) -> Result<(Option<jiff::Timestamp>, Option<jiff::Timestamp>), Failure> {
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| calendar.instant(text)).transpose();
        given.map_err(|error: ReportError| Failure::usage(format!("--{name}: {error}")))
    };
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage(format!(
            "--to {} is not after --from {}: no event can be between them",
            text(matches, "to"),
            text(matches, "from")
        )));
    }
    Ok((from, to))
}
