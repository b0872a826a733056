//! `reconcile`: our events held against Azure's own numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, ArgMatches, Command};

use super::arguments::{config_file, file, named, one_of, option, switch};
use super::failure::{self, Done, FOUND, Failure, INCOMPLETE};
use super::inputs::{inputs, of_ledger, with_inputs};
use super::layers::values;
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::Values;
use crate::report::{
    self, METERS_HELP, Meters, ReconcileOptions, ReconciliationFormat, ReportError, ResourceNames, Tolerance,
};

/// The flag that names files of metrics, and those that it is combined with.
const AZURE_METRICS: &str = "azure-metrics";
const COST_EXPORT: &str = "cost-export";
const METERS: &str = "meters";

pub(super) fn command() -> Command {
    let command = named(Subcommand::Reconcile)
        .about("Hold usage against Azure's metrics and bills; exit 3 over the tolerance")
        .after_help(format!("{FILES_HELP}\n\n{METERS_HELP}"))
        .arg(file(AZURE_METRICS, "JSON of `az monitor metrics list`; may be given several times").action(ArgAction::Append))
        .arg(file(COST_EXPORT, "CSV of Cost Management: FOCUS, actual or amortized; may be given several times").action(ArgAction::Append))
        .arg(file(METERS, "CSV of meters that the built-in table does not know; see below"))
        .arg(
            option("resource", "HOST=ACCOUNT", "Which of Azure's resources an upstream is, where the host's first label does not say; may be given several times")
                .action(ArgAction::Append),
        )
        .arg(
            option("provisioned", "DEPLOYMENT", "A deployment that is paid by the hour, where no metric ActiveTokens says so; may be given several times")
                .action(ArgAction::Append),
        )
        .arg(
            option("tolerance", "PERCENT", format!("How much of a line may be bypass, over_count or unexplained [default: {}]", Tolerance::default())),
        )
        .arg(option("from", "TIME", "Only time from this instant or UTC day on"))
        .arg(option("to", "TIME", "Only time before this instant or UTC day"))
        .arg(
            option("format", "FORMAT", "How it is told")
                .default_value(<&str>::from(ReconciliationFormat::default()))
                .value_parser(one_of::<ReconciliationFormat>()),
        )
        .arg(switch("wide", "Show every column of a table, and every name whole, whatever the terminal's width"))
        .arg(config_file());
    with_inputs(command)
}

/// Says for `--help` what the files are, and what the exit code means.
const FILES_HELP: &str = "\
Files may be compressed with gzip. Only time that Azure's files cover is compared, by UTC day. The metrics:

  az monitor metrics list --resource ID --interval PT1H --aggregation Total \\
    --metrics ProcessedPromptTokens GeneratedTokens --filter \"ModelDeploymentName eq '*'\" \\
    --start-time 2026-11-01T00:00:00Z --end-time 2026-12-01T00:00:00Z -o json > metrics.json
  az monitor metrics list --resource ID --interval PT1H --aggregation Total \\
    --metrics ModelRequests --filter \"ModelDeploymentName eq '*' and StatusCode eq '*'\" \\
    --start-time 2026-11-01T00:00:00Z --end-time 2026-12-01T00:00:00Z -o json > requests.json

A line is a deployment (of a cost export: a model) on a day. Its delta is what Azure has more, put on causes in this order: \
provisioned, spillover, hour_edge, batch, deferred, cut_streams, unknown_calls, estimates, failures; what is left is bypass \
(traffic that did not pass the sidecar), over_count or unexplained, which the tolerance is for. ModelRequests tells bypass from \
the others. docs/reconcile.md explains each.

Exit codes: 0 every line is within the tolerance, 1 the events could not be read, 2 a file is not what it should be, 3 a line is over \
the tolerance, or there was nothing to compare, 4 events of the compared time were left out or are not there.";

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let (azure_metrics, cost_exports) = (files(matches, AZURE_METRICS), files(matches, COST_EXPORT));
    if azure_metrics.is_empty() && cost_exports.is_empty() {
        return Err(Failure::usage("give --azure-metrics FILE, --cost-export FILE, or both"));
    }
    let time = |name: &'static str| {
        let given = matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
        given.map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::usage("--to is not after --from: nothing can be between them"));
    }
    let meters = Meters::read(matches.get_one::<PathBuf>(METERS).map(PathBuf::as_path));
    let options = ReconcileOptions {
        azure_metrics,
        cost_exports,
        meters: meters.map_err(|error| Failure::usage(format!("--{METERS}: {error}")).alone())?,
        resources: resources(matches)?,
        provisioned: texts(matches, "provisioned"),
        tolerance: tolerance(matches)?,
        from,
        to,
        inputs: inputs(&mut values, matches)?,
    };
    let reconciliation = report::reconcile(&options).map_err(|error| of_files(error, &options, &values))?;
    for text in reconciliation.completeness.texts("--format json names them") {
        failure::warn(Subcommand::Reconcile, &text);
    }
    let format = matches.get_one::<ReconciliationFormat>("format").copied().unwrap_or_default();
    let columns = report::terminal_columns().filter(|_| !matches.get_flag("wide"));
    to_stdout(|out| match format {
        ReconciliationFormat::Table => reconciliation.write_table(columns, out),
        ReconciliationFormat::Csv | ReconciliationFormat::Json => reconciliation.write(format, out),
    })?;
    let is_fine = reconciliation.is_within() && !reconciliation.lines.is_empty();
    Ok(match (is_fine, reconciliation.completeness.is_whole()) {
        (false, _) => ExitCode::from(FOUND),
        (true, false) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// A file of Azure's is named with its flag: it is what the command line says that is wrong.
fn of_files(error: ReportError, options: &ReconcileOptions, values: &Values) -> Failure {
    let path = match &error {
        ReportError::Content { path, .. } | ReportError::File { path, .. } => path,
        _ => return of_ledger(values, error),
    };
    let named = [(&options.azure_metrics, AZURE_METRICS), (&options.cost_exports, COST_EXPORT)];
    match named.into_iter().find(|(paths, _)| paths.contains(path)) {
        Some((_, flag)) => Failure::usage(format!("--{flag}: {error}")).alone(),
        None => of_ledger(values, error),
    }
}

fn files(matches: &ArgMatches, name: &str) -> Vec<PathBuf> {
    matches.get_many::<PathBuf>(name).into_iter().flatten().cloned().collect()
}

fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

fn resources(matches: &ArgMatches) -> Result<ResourceNames, Failure> {
    let mut names = ResourceNames::default();
    for text in texts(matches, "resource") {
        names.add(&text).map_err(|problem| Failure::usage(format!("--resource: {problem}")))?;
    }
    Ok(names)
}

fn tolerance(matches: &ArgMatches) -> Result<Tolerance, Failure> {
    let given = matches.get_one::<String>("tolerance").map(|text| text.parse());
    given
        .transpose()
        .map(Option::unwrap_or_default)
        .map_err(|problem| Failure::usage(format!("--tolerance: {problem}")))
}
