//! The events that let a reader prove that none is missing: control totals and summaries.

use serde::{Deserialize, Serialize};

use super::event::{Accounting, Reporter, Target};
use super::tokens::{TokenTotals, Units};
use crate::caller::Caller;

/// Totals of the rows since the boot's previous control event, and the state of its calls.
///
/// `accepted = settled + open + summed` always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// As in [`super::Usage::schema_version`].
    pub schema_version: String,
    /// The boot that this speaks of.
    pub instance: String,
    /// First sequence covered; null where `events` is 0.
    pub first_sequence: Option<u64>,
    /// Last sequence covered; null where `events` is 0.
    pub last_sequence: Option<u64>,
    /// Rows covered, controls excluded.
    pub events: u64,
    /// Their tokens; `null` counts as 0.
    pub tokens: TokenTotals,
    /// Their units; absent is 0.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// Calls since boot.
    pub accepted: u64,
    /// Of these: with a usage event.
    pub settled: u64,
    /// Of these: still running.
    pub open: u64,
    /// Of these: only in a summary.
    pub summed: u64,
    /// Events that the broker refused for good, since boot.
    pub refused: u64,
    /// Announced work whose bill never came and is waited for no longer, since the boot's previous control event.
    #[serde(default)]
    pub deferred_expired: u64,
    /// The ledger could not store every event.
    pub degraded: bool,
    /// The boot's last control event.
    #[serde(rename = "final")]
    pub last: bool,
}

/// Calls that could not be stored one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// As in [`super::Usage::schema_version`].
    pub schema_version: String,
    /// Who pays.
    pub caller: Caller,
    /// The deployment and model that were called.
    pub target: Target,
    /// How many calls.
    pub calls: u64,
    /// Their tokens; `null` counts as 0.
    pub tokens: TokenTotals,
    /// Their units; absent: none was known.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// How the sums are known.
    pub accounting: Accounting,
    /// When they were made.
    #[serde(flatten)]
    pub period: SummaryPeriod,
    /// Which process says so: with the envelope's `sequence` it places the event.
    pub reporter: Reporter,
}

/// First and last end of the calls in a summary, RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryPeriod {
    /// The earliest.
    pub from: String,
    /// The latest.
    pub to: String,
}
