//! `close`: a month's statements, charges and proof in one folder.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, ArgMatches, Command, value_parser};

use super::arguments::{config_file, file, named, option, switch, with_settings};
use super::cost::{PRICES, PTU_COST, caller_map, cost_files, with_cost};
use super::failure::{self, Done, FOUND, Failure, INCOMPLETE};
use super::focus::{FOCUS_HELP, focus_options, with_focus};
use super::inputs::{inputs, of_ledger, with_inputs};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use super::verify::{as_of, expected_sources};
use crate::config;
use crate::config::settings::{CONTROL_HMAC_KEY_FILE, CONTROL_INTERVAL};
use crate::report::{
    self, Calendar, CloseMonth, CloseOptions, CloseOutcome, CloseResult, DOUBLE_COUNT, ReportOptions,
    VerifyOptions,
};

/// Says for `--help` what a close is.
const CLOSE_HELP: &str = "\
Writes the folder --out: statements/ with a CSV, a Parquet file and a page of HTML for each department, departments.csv \
with what each pays, usage.csv with every line, focus.csv with the charges, and manifest.json with the verdict of the \
proof, the boots and sequences that it covers, the versions of all files, and the SHA-256 of everything written. The same \
events give the same bytes. What departments pay adds up to the rounded total.

A month that is not complete is not closed, unless --allow-incomplete is given: then every statement says so. If the month \
was closed before, the folder keeps what it has, and what is different now goes into adjustment-1 and so on beside it: with \
the close they add up to the new truth.

Exit codes: 0 closed, 1 it failed while running, 2 usage, 3 the proof found something, 4 something was left out, is not \
there or has no price.";

pub(super) fn command() -> Command {
    let command = named(Subcommand::Close)
        .about("Close a month: statements by department, charges, and proof, in one folder")
        .after_help([CLOSE_HELP, FOCUS_HELP].join("\n\n"))
        .arg(option("month", "MONTH", "The month, such as 2026-11").required(true))
        .arg(
            option(
                "out",
                "DIR",
                "The folder to write; that of an earlier close of the month gets an adjustment",
            )
            .required(true)
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            option("time-zone", "ZONE", "Time zone of the month and its days, such as Europe/Berlin")
                .default_value("UTC"),
        )
        .arg(switch("allow-incomplete", "Close a month that is not complete; every statement says so"))
        .arg(switch("allow-open", "A boot that still runs is no finding; one that was never closed is"))
        .arg(switch(
            "allow-cut",
            "FILE begins in the middle: what lies before its first event is not missing",
        ))
        .arg(switch(
            "allow-re-rendered",
            "Events whose bytes an engine has rendered anew are no finding if the digest proves them",
        ))
        .arg(
            file("expect-sources", "File with the ledgers of which there must be events, one source a line")
                .action(ArgAction::Set),
        )
        .arg(config_file());
    with_focus(with_cost(with_inputs(with_settings(command, &[&CONTROL_INTERVAL, &CONTROL_HMAC_KEY_FILE]))))
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let calendar = Calendar::of_zone(text("time-zone"));
    let calendar = calendar.map_err(|error| Failure::usage(format!("--time-zone: {error}")))?;
    let month = CloseMonth::of(text("month"), &calendar);
    let month = month.map_err(|error| Failure::usage(format!("--month: {error}")))?;
    let (cost, caller_map) = (cost_files(matches)?, caller_map(matches)?);
    if cost.prices.is_none() && cost.ptu.is_none() {
        return Err(Failure::usage(format!("a close is of costs: give --{PRICES} or --{PTU_COST}")));
    }
    let inputs = inputs(&mut values, matches)?;
    let control_key = config::control_key(&mut values);
    checked(&values)?;
    let proof = VerifyOptions {
        as_of: as_of(&inputs, Some(month.to)),
        control_interval: values.get(&CONTROL_INTERVAL).unwrap_or_default(),
        allow_open: matches.get_flag("allow-open"),
        allow_cut: matches.get_flag("allow-cut"),
        allow_re_rendered: matches.get_flag("allow-re-rendered"),
        expected_sources: expected_sources(matches)?,
        control_key,
        ..VerifyOptions::new(Vec::new())
    };
    let usage = ReportOptions { inputs, calendar, cost, caller_map, ..ReportOptions::default() };
    let options = CloseOptions {
        month,
        usage,
        proof,
        focus: focus_options(matches),
        out: matches.get_one::<PathBuf>("out").cloned().unwrap_or_default(),
        allow_incomplete: matches.get_flag("allow-incomplete"),
    };
    let result = report::close(&options).map_err(|error| of_ledger(&values, error))?;
    tell(&result, &options)?;
    Ok(match (result.verdict.complete, result.is_complete) {
        (false, _) => ExitCode::from(FOUND),
        (true, false) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Tells how it ended on standard output, and what there is to know on standard error.
fn tell(result: &CloseResult, options: &CloseOptions) -> Done {
    let warn = |text: &str| failure::warn(Subcommand::Close, text);
    let report = &result.report;
    let said = [report.unpriced_text(), report.repeated_bills_text()].into_iter().flatten();
    said.chain(report.completeness.texts("manifest.json counts them by reason")).for_each(|text| warn(&text));
    report.cost.notes.iter().chain(&report.cost.versions.text()).for_each(|note| warn(note));
    if !result.verdict.complete {
        warn(&format!("not proven: {}; `tokenweir verify` names each finding", result.proof));
    }
    let (month, out) = (&options.month.name, options.out.display());
    let line = match &result.outcome {
        CloseOutcome::Refused => {
            warn(&format!(
                "{month} is not complete, and is not closed: --allow-incomplete closes it all the same"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        CloseOutcome::Closed => format!("{month} is closed: {out}"),
        CloseOutcome::Adjusted(folder) => format!("{month} is adjusted: {}", folder.display()),
        CloseOutcome::Unchanged => format!("{month} is as it was closed: {out}"),
    };
    warn(DOUBLE_COUNT);
    to_stdout(|out| writeln!(out, "{line}").map_err(anyhow::Error::from))
}
