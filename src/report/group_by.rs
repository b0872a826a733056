//! The keys by which usage is added up.

use std::str::FromStr;

use strum::{IntoStaticStr, VariantArray};

use super::error::ReportError;
use super::usage_event::UsageEvent;
use metering::usage::Outcome;

/// `outcome` of calls that are only in a sum.
const SUMMED: &str = "summed";

/// A key by which usage is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum GroupBy {
    /// `caller.id`
    Caller,
    /// `target.model`, or the model asked for where the response named none.
    Model,
    /// `target.deployment`
    Deployment,
    /// The UTC day of `time`.
    Day,
    /// `caller.department`
    Department,
    /// `caller.cost_center`
    CostCenter,
    /// `stream.outcome`
    Outcome,
}

impl GroupBy {
    /// The column's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Every column's name, for people.
    pub fn words() -> String {
        GroupBy::VARIANTS.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The value of this key for an event; empty where it has none.
    pub(super) fn of(self, event: &UsageEvent) -> String {
        let (caller, target) = (&event.usage.caller, &event.usage.target);
        let known = match self {
            GroupBy::Caller => Some(caller.id.as_str()),
            GroupBy::Model => target.any_model().map(|model| model.as_str()),
            GroupBy::Deployment => target.deployment.as_deref(),
            GroupBy::Day => return event.time.strftime("%Y-%m-%d").to_string(),
            GroupBy::Department => caller.department.as_deref(),
            GroupBy::CostCenter => caller.cost_center.as_deref(),
            GroupBy::Outcome => Some(event.outcome.map_or(SUMMED, Outcome::as_str)),
        };
        known.unwrap_or_default().to_owned()
    }
}

impl FromStr for GroupBy {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<GroupBy, ReportError> {
        let found = GroupBy::VARIANTS.iter().find(|key| key.as_str() == text);
        found.copied().ok_or_else(|| ReportError::Key { given: text.to_owned(), known: GroupBy::words() })
    }
}
