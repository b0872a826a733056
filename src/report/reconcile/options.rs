//! The options of a reconciliation say what is held against what.

use std::path::PathBuf;

use jiff::Timestamp;

use super::meters::Meters;
use super::resource_names::ResourceNames;
use super::tolerance::Tolerance;
use crate::report::input::Input;

/// The reconciliation that is asked for.
#[derive(Clone, Debug)]
pub struct ReconcileOptions {
    /// Where our events come from.
    pub inputs: Vec<Input>,
    /// Files of `az monitor metrics list -o json`.
    pub azure_metrics: Vec<PathBuf>,
    /// Exports of Cost Management.
    pub cost_exports: Vec<PathBuf>,
    /// The table of what meters count.
    pub meters: Meters,
    /// Which of Azure's resources a host is.
    pub resources: ResourceNames,
    /// Deployments that are paid by the hour; those with a metric `ActiveTokens` are known.
    pub provisioned: Vec<String>,
    /// How much may stay open.
    pub tolerance: Tolerance,
    /// Time from this instant on.
    pub from: Option<Timestamp>,
    /// Time before this instant.
    pub to: Option<Timestamp>,
}
