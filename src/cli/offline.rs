//! `account`, `count` and `schema`: what needs no ledger.

use std::io::{self, BufReader, IsTerminal, Write};
use std::process::ExitCode;

use clap::ArgMatches;
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::failure::{self, Done, FAILED, Failure, plural};
use super::layers::{checked, values};
use super::output::{open, to_stdout};
use super::subcommand::Subcommand;
use metering::{account, usage};

use crate::config;

/// How `account --explain` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum ExplainFor {
    /// A terminal gets text, since people read it, and a program JSON.
    Auto,
    Text,
    Json,
}

/// The document whose schema `schema` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum SchemaOf {
    #[default]
    Event,
    Content,
    Config,
    Exchange,
}

pub(super) fn run_account(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let explain = match matches.get_one::<ExplainFor>("explain") {
        None => account::Explain::No,
        Some(ExplainFor::Text) => account::Explain::Text,
        Some(ExplainFor::Auto) if io::stdout().is_terminal() => account::Explain::Text,
        Some(ExplainFor::Auto | ExplainFor::Json) => account::Explain::Json,
    };
    let options = account::Options { end_of_turn: config::end_of_turn(&values), explain };
    let input = BufReader::new(open(matches, "recorded exchanges, one JSON object a line")?);
    let mut seen = account::RunSummary::default();
    to_stdout(|out| account::run(input, out, &options).map(|summary| seen = summary))?;
    if seen.lines == 0 {
        failure::warn(Subcommand::Account, "there is no line in the input");
    }
    if seen.bad_lines == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let of = plural(usize::try_from(seen.lines).unwrap_or(usize::MAX), "line");
    let is = if seen.bad_lines == 1 { "is" } else { "are" };
    let bad = seen.bad_lines;
    failure::warn(
        Subcommand::Account,
        &format!("{bad} of {of} {is} no exchange; `tokenweir schema exchange` says what one is. An example:"),
    );
    // It is printed whole even on a narrow terminal, since it is there to be copied.
    let _ = writeln!(io::stderr(), "  {}", account::EXCHANGE_EXAMPLE);
    Ok(ExitCode::from(FAILED))
}

pub(super) fn run_count(matches: &ArgMatches) -> Done {
    let model = matches.get_one::<String>("model").map_or("", String::as_str);
    // The model is checked first, so that a user who names a wrong one is not asked to type.
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
    let of = matches.get_one::<SchemaOf>("of").copied().unwrap_or_default();
    to_stdout(|out| match of {
        SchemaOf::Config => {
            serde_json::to_writer_pretty(&mut *out, &config::json_schema())?;
            writeln!(out)
        }
        SchemaOf::Exchange => write!(out, "{}", account::EXCHANGE_SCHEMA),
        SchemaOf::Event => write!(out, "{}", usage::SCHEMA),
        SchemaOf::Content => write!(out, "{}", usage::CONTENT_SCHEMA),
    })
}
