//! The files that cost comes from, which `report` and `close` share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgAction, ArgMatches, Command};

use super::arguments::file;
use super::failure::Failure;
use crate::config::settings::CALLER_MAP_FILE;
use crate::report::{CostFiles, Prices, PtuCosts, Rates, ReportError};
use metering::caller::{CallerMap, Reload};

pub(super) const PRICES: &str = "prices";
const RATES: &str = "rates";
pub(super) const PTU_COST: &str = "ptu-cost";

pub(super) fn with_cost(command: Command) -> Command {
    command
        .arg(
            file(PRICES, "CSV of prices, as often as there are such files: adds cost, currency and unpriced_calls; `tokenweir report --help` says how it looks")
                .action(ArgAction::Append),
        )
        .arg(file(RATES, "CSV of rates to a second currency: adds cost_2 and currency_2"))
        .arg(file(PTU_COST, "CSV of what deployments cost by the month, shared among their calls"))
        .arg(file(
            CALLER_MAP_FILE.any().name,
            "Caller map that says who pays, in place of what the events say; as for serve",
        ))
}

/// The files that cost comes from, which go together.
pub(super) fn cost_files(matches: &ArgMatches) -> Result<CostFiles, Failure> {
    let one = |name: &str| matches.get_one::<PathBuf>(name);
    let prices = matches.get_many::<PathBuf>(PRICES);
    let prices = prices.map(|paths| Prices::read(&paths.cloned().collect::<Vec<_>>())).transpose();
    let files = CostFiles {
        prices: prices.map_err(|error| wrong_file(PRICES, &error.to_string()))?,
        rates: of_file(RATES, one(RATES), Rates::read)?,
        ptu: of_file(PTU_COST, one(PTU_COST), PtuCosts::read)?,
    };
    files.check().map_err(Failure::usage)?;
    Ok(files)
}

fn of_file<T>(
    flag: &str,
    path: Option<&PathBuf>,
    read: impl FnOnce(&Path) -> Result<T, ReportError>,
) -> Result<Option<T>, Failure> {
    path.map(|path| read(path)).transpose().map_err(|error| wrong_file(flag, &error.to_string()))
}

/// The caller map that says who pays, in place of what events say.
pub(super) fn caller_map(matches: &ArgMatches) -> Result<Option<Arc<CallerMap>>, Failure> {
    let name = CALLER_MAP_FILE.any().name;
    let path = matches.get_one::<PathBuf>(name);
    let map = path.map(|path| Reload::<CallerMap>::file(path)).transpose();
    let map = map.map_err(|problem| wrong_file(name, &problem))?;
    Ok(map.map(|map| map.current()))
}

fn wrong_file(flag: &str, problem: &str) -> Failure {
    Failure::usage(format!("--{flag}: {}", problem.replace('\n', "\n  "))).alone()
}
