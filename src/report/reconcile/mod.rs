//! `reconcile`: our events held against Azure's own numbers, and each difference put on its causes.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what is held against what |
//! | `quantity` | exact numbers, as Azure writes them |
//! | `tolerance` | how much may stay open |
//! | `azure_time` | times and days, as Azure writes them |
//! | `coverage` | the time that Azure's files cover |
//! | `glob` | patterns with `*` |
//! | `measure` | what is measured on both sides |
//! | `line_key` | what a line is about |
//! | `resource_names` | which of Azure's resources a host is |
//! | `meters` | what a meter of a bill counts; `meters.csv` |
//! | `input_file` | files as Azure leaves them |
//! | `billed` | Azure's side |
//! | `azure_monitor` | metrics, from JSON |
//! | `cost_export` | bills, from CSV |
//! | `cause` | why numbers differ, in order |
//! | `own_events` | our events, each once |
//! | `tracked` | our side |
//! | `flow` | tokens that are on another line to Azure |
//! | `attribution` | putting each delta on its causes |
//! | `reconciliation` | the result |
//! | `show` | it in one of its formats, and as CSV |
//! | `table` | it as tables for people |
//! | `json` | it as JSON |

mod attribution;
mod azure_monitor;
mod azure_time;
mod billed;
mod cause;
mod cost_export;
mod coverage;
mod flow;
mod glob;
mod input_file;
mod json;
mod line_key;
mod measure;
mod meters;
mod options;
mod own_events;
mod quantity;
mod reconciliation;
mod resource_names;
mod show;
mod table;
mod tolerance;
mod tracked;

use super::error::ReportError;
use azure_monitor::AzureMonitor;
use billed::Billed;
use tracked::Tracked;

pub use attribution::Explained;
pub use billed::UnmatchedMeter;
pub use cause::Cause;
pub use line_key::Basis;
pub use measure::Measure;
pub use meters::{METERS_HELP, Meters};
pub use options::ReconcileOptions;
pub use quantity::Quantity;
pub use reconciliation::{OneSided, ReconciledLine, ReconciledSums, Reconciliation};
pub use resource_names::ResourceNames;
pub use show::ReconciliationFormat;
pub use tolerance::Tolerance;

/// Holds our events against Azure's files.
///
/// # Errors
/// If a file or our events cannot be read, or a file is not what it should be.
pub fn reconcile(options: &ReconcileOptions) -> Result<Reconciliation, ReportError> {
    let mut billed = Billed::new(options.from, options.to);
    AzureMonitor::read(&options.azure_metrics)?.bill(&mut billed);
    cost_export::read(&options.cost_exports, &options.meters, &mut billed)?;
    billed.add_provisioned(&options.provisioned);
    let mut tracked = Tracked::default();
    let completeness = own_events::each(&options.inputs, billed.range(), |event| {
        tracked.add(event, &mut billed, &options.resources);
    })?;
    Ok(Reconciliation::new(billed, tracked, options.tolerance, completeness))
}
