//! `events`: stored events as JSON lines.

use std::io::{self, IsTerminal};

use clap::{ArgMatches, Command, value_parser};

use super::arguments::{config_file, named, option, switch, with_settings};
use super::failure::{Done, Failure};
use super::inputs::{ledger_dir, of_ledger};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::LEDGER;
use crate::report::{self, Calendar, EventsOptions};
use metering::names;

pub(super) fn command() -> Command {
    let command = named(Subcommand::Events).about("Stored events as JSON lines").arg(config_file());
    with_settings(command, &[&LEDGER])
        .arg(switch("follow", "Go on with new events until interrupted"))
        .arg(option(
            "from",
            "TIME",
            "Only events of this time or later: 2026-11-22, 2026-11, 2026-11-22T09:00:00Z",
        ))
        .arg(
            option(
                "tail",
                "NUMBER",
                "Of the events that are stored by now, the last; with 0 and --follow, only new ones",
            )
            .value_parser(value_parser!(u64)),
        )
        .arg(switch("refused", "Only events that the broker refused for good; standard error says why"))
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let from = matches.get_one::<String>("from").map(|text| Calendar::default().instant(text));
    let options = EventsOptions {
        dir: ledger_dir(&values, "")?,
        follow: matches.get_flag("follow"),
        refused: matches.get_flag("refused"),
        from: from.transpose().map_err(|error| Failure::usage(format!("--from: {error}")))?,
        tail: matches.get_one("tail").copied(),
    };
    let (mut done, values) = (Ok(()), &values);
    let written = to_stdout(|out| -> io::Result<()> {
        // A program gets the bytes as they are stored, a terminal the same JSON.
        done = match io::stdout().is_terminal() {
            true => report::events(&options, &mut names::Json(out), &mut io::stderr()),
            false => report::events(&options, out, &mut io::stderr()),
        };
        Ok(())
    })?;
    match done {
        Ok(()) => Ok(written),
        Err(error) => Err(of_ledger(values, error)),
    }
}
