//! The events that let a reader prove that none is missing or altered: control totals and summaries.

use serde::{Deserialize, Serialize};

use super::event::{Accounting, Reporter, Target};
use super::tokens::{TokenTotals, Tokens, ToolTokens, Units};
use crate::caller::Caller;

/// The last version of the schema without seals.
const UNSEALED_VERSION: &str = "1.0";

/// Totals of the rows since the boot's previous control event, and the state of its calls.
///
/// `accepted = settled + open + summed` always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The [`RowsDigest`](super::RowsDigest) of the rows covered. Like all members below it is a text, so that one which
    /// somebody has spoiled makes no event unreadable. `None`: a version without digests began the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The boot of which the ledger's previous control event speaks; `None`: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_instance: Option<String>,
    /// The digest of that control event, so that none can be left out or exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_digest: Option<String>,
    /// The key of the two HMACs, by its [`ControlKey::id`](super::ControlKey::id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// As `digest`, of the rows' HMACs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed_digest: Option<String>,
    /// SHA-256 of this event's bytes without this member and the next, which stay the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// HMAC-SHA-256 of the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<String>,
}

impl Control {
    /// Its version seals all control events.
    pub fn should_be_sealed(&self) -> bool {
        self.schema_version != UNSEALED_VERSION
    }
}

/// Calls of one UTC hour that could not be stored one by one. In its sums an unknown number counts as 0.
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
    /// Their tokens, by class; a class is absent where no call knew it.
    pub tokens: Tokens,
    /// Their tokens of other models, one entry for each tool and model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolTokens>,
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

/// First and last end of the calls in a summary, RFC 3339. Both lie within its hour, and so does the event's `time`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryPeriod {
    /// When the UTC hour began in which the calls ended; `None`: a version that did not tell hours apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<String>,
    /// The earliest.
    pub from: String,
    /// The latest.
    pub to: String,
}
