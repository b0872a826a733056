//! `top` and `tail`: what is going on now, from the admin port, a ledger or the topic.

use std::io;

use clap::{ArgMatches, Command};

use super::arguments::{KAFKA, config_file, named, one_of, option, switch, with_settings};
use super::failure::{Done, Failure};
use super::health::admin_url;
use super::inputs::{ledger_dir, of_ledger};
use super::layers::{checked, values};
use super::output::{is_terminal, to_stdout};
use super::subcommand::Subcommand;
use crate::config::settings::{ADMIN_LISTEN, AnySetting, KAFKA_BROKERS, LEDGER};
use crate::config::{self, Origin, Values};
use crate::report::{self, ReportError, TailFormat, TopOptions, WatchSource};

/// Where both take calls from.
const SOURCES: &str = "Calls come from the admin port of a sidecar (--url, or else admin-listen of the configuration), as far as its \
                       --admin-page allows; from a ledger, if --ledger is given; or from the topic, if --kafka-brokers is.";

pub(super) fn top_command() -> Command {
    let command = named(Subcommand::Top)
        .about("Callers as a table that follows what they use")
        .after_help(format!(
            "{SOURCES} Of a sidecar the sums are those since its start, else of the last 15 minutes and what comes.\n\n\
             tokens/s is the mean of the last 10 seconds; a call counts when it ends. Ctrl-C ends it. Where standard output is no \
             terminal one table is printed."
        ))
        .arg(switch("once", "Print one table and end"));
    with_sources(command)
}

pub(super) fn tail_command() -> Command {
    let command = named(Subcommand::Tail)
        .about("Each call as a short line, as it ends")
        .after_help(format!(
            "{SOURCES} The last 10 calls come first, of a topic those of each partition.\n\n\
             Times are UTC. >= says that the truth is this or more, ~ that it is near, ? that it is not known. A message that is \
             on a topic twice is shown twice. Whole events are what `tokenweir events --follow` prints."
        ))
        .arg(
            option("format", "FORMAT", "text for people; json: an object a line, the same from all sources")
                .default_value(<&str>::from(TailFormat::default()))
                .value_parser(one_of::<TailFormat>()),
        );
    with_sources(command)
}

fn with_sources(command: Command) -> Command {
    let url = "The admin port, such as http://localhost:9464 [default: admin-listen, on loopback if that is every interface]";
    let command = command.arg(option("url", "URL", url)).arg(config_file());
    let settings: [&AnySetting; 2] = [&ADMIN_LISTEN, &LEDGER];
    with_settings(with_settings(command, &settings), KAFKA)
}

pub(super) fn run_top(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let source = source(&mut values, matches)?;
    let options = TopOptions { once: matches.get_flag("once") || !is_terminal() };
    watched(&values, |out| report::top(&source, options, out))
}

pub(super) fn run_tail(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let source = source(&mut values, matches)?;
    let format = matches.get_one::<TailFormat>("format").copied().unwrap_or_default();
    watched(&values, |out| report::tail(&source, format, out, &mut io::stderr()))
}

/// Runs a command that writes until its reader leaves.
fn watched(
    values: &Values,
    watch: impl FnOnce(&mut io::BufWriter<io::StdoutLock>) -> Result<(), ReportError>,
) -> Done {
    let mut done = Ok(());
    let written = to_stdout(|out| -> io::Result<()> {
        done = watch(out);
        Ok(())
    })?;
    done.map(|()| written).map_err(|error| of_ledger(values, error))
}

/// The one source that flags name, or else the admin port.
fn source(values: &mut Values, matches: &ArgMatches) -> Result<WatchSource, Failure> {
    let flag = |setting: &AnySetting| values.origin(setting) == Some(Origin::Flag);
    let (url, is_ledger, is_topic) = (matches.get_one::<String>("url"), flag(&LEDGER), flag(&KAFKA_BROKERS));
    if usize::from(url.is_some()) + usize::from(is_ledger) + usize::from(is_topic) > 1 {
        return Err(
            Failure::usage("more than one source; give one of --url, --ledger and --kafka-brokers").alone()
        );
    }
    if is_topic {
        let topic = config::publish_config(values);
        checked(values)?;
        return topic.map(WatchSource::Topic).ok_or_else(|| Failure::config(values.errors()));
    }
    if is_ledger {
        checked(values)?;
        return ledger_dir(values, "").map(WatchSource::Ledger);
    }
    match url {
        Some(url) if url.starts_with("http://") => Ok(WatchSource::AdminPort(url.clone())),
        Some(url) => {
            Err(Failure::usage(format!("--url {url:?} is not allowed; allowed: http://host:port")).alone())
        }
        None => admin_url(values, "").map(|(url, _)| WatchSource::AdminPort(url)),
    }
}
