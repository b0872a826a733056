//! `events`: stored events as JSON lines.

use std::io::{self, IsTerminal};

use clap::{ArgMatches, Command};

use super::arguments::{config_file, named, switch, with_settings};
use super::failure::Done;
use super::inputs::{ledger_dir, of_ledger};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::LEDGER;
use crate::report::{self, EventsOptions};
use metering::names;

pub(super) fn command() -> Command {
    let command = named(Subcommand::Events).about("Stored events as JSON lines").arg(config_file());
    with_settings(command, &[&LEDGER])
        .arg(switch("follow", "Go on with new events until interrupted"))
        .arg(switch("refused", "Only events that the broker refused for good; standard error says why"))
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let options = EventsOptions {
        dir: ledger_dir(&values, "")?,
        follow: matches.get_flag("follow"),
        refused: matches.get_flag("refused"),
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
