//! `account`, `count` and `schema`: what needs no ledger.

use std::io::{self, BufReader, IsTerminal, Write};
use std::process::ExitCode;

use clap::ArgMatches;

use super::failure::{self, Done, FAILED, Failure, plural};
use super::layers::{checked, values};
use super::output::{open, to_stdout};
use metering::{account, usage};

use crate::config;

pub(super) fn run_account(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let explain = match matches.get_one::<String>("explain").map(String::as_str) {
        None => account::Explain::No,
        Some("text") => account::Explain::Text,
        // People read text, programs JSON.
        Some("auto") if io::stdout().is_terminal() => account::Explain::Text,
        Some(_) => account::Explain::Json,
    };
    let options = account::Options { end_of_turn: config::end_of_turn(&values), explain };
    let input = BufReader::new(open(matches, "recorded exchanges, one JSON object a line")?);
    let mut seen = account::RunSummary::default();
    to_stdout(|out| account::run(input, out, &options).map(|summary| seen = summary))?;
    if seen.lines == 0 {
        failure::warn("account", "there is no line in the input");
    }
    if seen.bad_lines == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let of = plural(usize::try_from(seen.lines).unwrap_or(usize::MAX), "line");
    let is = if seen.bad_lines == 1 { "is" } else { "are" };
    let bad = seen.bad_lines;
    failure::warn(
        "account",
        &format!("{bad} of {of} {is} no exchange; `tokenweir schema exchange` says what one is. An example:"),
    );
    // Whole, whatever the terminal: it is there to be copied.
    let _ = writeln!(io::stderr(), "  {}", account::EXCHANGE_EXAMPLE);
    Ok(ExitCode::from(FAILED))
}

pub(super) fn run_count(matches: &ArgMatches) -> Done {
    let model = matches.get_one::<String>("model").map_or("", String::as_str);
    // The model first: whoever names a wrong one is not asked to type.
    account::count(model, io::empty()).map_err(unknown)?;
    match account::count(model, open(matches, "the text to count")?) {
        Ok(tokens) => to_stdout(|out| writeln!(out, "{tokens}")),
        Err(error) => Err(unknown(error)),
    }
}

fn unknown(error: account::CountError) -> Failure {
    match error {
        account::CountError::UnknownModel(error) => Failure::usage(error.to_string()),
        error => error.into(),
    }
}

pub(super) fn run_schema(matches: &ArgMatches) -> Done {
    let of = matches.get_one::<String>("of").map_or("event", String::as_str);
    to_stdout(|out| match of {
        "config" => {
            serde_json::to_writer_pretty(&mut *out, &config::json_schema())?;
            writeln!(out)
        }
        "exchange" => write!(out, "{}", account::EXCHANGE_SCHEMA),
        _ => write!(out, "{}", usage::SCHEMA),
    })
}
