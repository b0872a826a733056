//! The keys by which usage is added up.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use smol_str::SmolStr;

use super::calendar::Calendar;
use super::error::ReportError;
use super::key_value::{KeyValue, MissingKey};
use super::pricing::is_special_tier;
use super::usage_event::UsageEvent;
use metering::caller::UNATTRIBUTED;
use metering::usage::Outcome;

/// `outcome` of calls that are only in a sum.
const SUMMED: &str = "summed";

/// The tier of calls for which nobody asked another one.
pub(super) const USUAL_TIER: &str = "default";

/// The name of a tag stands behind this.
const TAG: &str = "tag:";

/// A key by which usage is added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// `caller.id`
    Caller,
    /// `target.model`, or the model asked for where the response named none.
    Model,
    /// `target.deployment`
    Deployment,
    /// The day of `time`.
    Day,
    /// `caller.department`
    Department,
    /// `caller.cost_center`
    CostCenter,
    /// `stream.outcome`
    Outcome,
    /// The ISO week of `time`.
    Week,
    /// The month of `time`.
    Month,
    /// The hour of `time`.
    Hour,
    /// The class of the tokens or units: an event has a share in a row for each class that it used.
    Class,
    /// `target.service_tier`
    Tier,
    /// `target.region`
    Region,
    /// `target.resource`
    Resource,
    /// `target.api`
    Api,
    /// `target.provider`
    Provider,
    /// `target.project`
    Project,
    /// The ledger that wrote the event.
    Source,
    /// `caller.tags`, the tag of that name.
    Tag(SmolStr),
    /// The day of `time` in UTC, or the month of what nobody used. No list names it.
    ChargeDay,
    /// `target.service_tier`, where every word for the usual one is `default`. No list names it.
    ChargeTier,
    /// `target.region` as Azure spells it in its bills. No list names it.
    ChargeRegion,
    /// The model of what is paid for: that of the tool which used the tokens, or of the call. No list names it.
    BilledModel,
    /// The price that counts. No list names it.
    Price,
}

/// The keys that are a word, in the order in which they are listed.
const WORDS: [(&str, GroupBy); 18] = [
    ("caller", GroupBy::Caller),
    ("model", GroupBy::Model),
    ("deployment", GroupBy::Deployment),
    ("day", GroupBy::Day),
    ("department", GroupBy::Department),
    ("cost_center", GroupBy::CostCenter),
    ("outcome", GroupBy::Outcome),
    ("month", GroupBy::Month),
    ("week", GroupBy::Week),
    ("hour", GroupBy::Hour),
    ("class", GroupBy::Class),
    ("tier", GroupBy::Tier),
    ("region", GroupBy::Region),
    ("resource", GroupBy::Resource),
    ("api", GroupBy::Api),
    ("provider", GroupBy::Provider),
    ("project", GroupBy::Project),
    ("source", GroupBy::Source),
];

impl GroupBy {
    /// Every key, for people.
    pub fn words() -> String {
        WORDS.iter().map(|(word, _)| *word).chain(["tag:NAME"]).collect::<Vec<_>>().join(", ")
    }

    /// The keys in a list with commas.
    ///
    /// # Errors
    /// If one is unknown, or is there twice.
    pub fn list(text: &str) -> Result<Vec<GroupBy>, ReportError> {
        let mut keys = Vec::new();
        for word in text.split(',') {
            let key: GroupBy = word.trim().parse()?;
            if keys.contains(&key) {
                return Err(ReportError::RepeatedKey(key.to_string()));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// The parts of an event have values of their own for it.
    pub(super) fn is_of_parts(&self) -> bool {
        matches!(self, GroupBy::Class | GroupBy::BilledModel | GroupBy::Price)
    }

    /// The value of this key for an event. An event has several classes: none is told here.
    pub(super) fn of(&self, event: &UsageEvent, calendar: &Calendar) -> KeyValue {
        let (caller, target) = (&event.usage.caller, &event.usage.target);
        let payer = |known: Option<&SmolStr>| {
            let unattributed = caller.id == UNATTRIBUTED;
            let missing = if unattributed { MissingKey::Unattributed } else { MissingKey::NotInTheMap };
            KeyValue::of(known.map(SmolStr::as_str), missing)
        };
        let name = |name: &str, missing| KeyValue::of(Some(name), missing);
        let known = |known: &Option<SmolStr>, missing| KeyValue::of(known.as_deref(), missing);
        match self {
            GroupBy::Caller => name(&caller.id, MissingKey::Unattributed),
            GroupBy::Model => KeyValue::of(target.any_model().map(SmolStr::as_str), MissingKey::Model),
            GroupBy::Deployment => known(&target.deployment, MissingKey::Deployment),
            GroupBy::Day => KeyValue::day(event.time, calendar),
            GroupBy::Department => payer(caller.department.as_ref()),
            GroupBy::CostCenter => payer(caller.cost_center.as_ref()),
            GroupBy::Outcome => KeyValue::Name(event.outcome.map_or(SUMMED, Outcome::as_str).into()),
            GroupBy::Week => KeyValue::week(event.time, calendar),
            GroupBy::Month => KeyValue::month(event.time, calendar),
            GroupBy::Hour => KeyValue::hour(event.time, calendar),
            GroupBy::Class | GroupBy::BilledModel | GroupBy::Price => {
                KeyValue::Missing(MissingKey::NothingUsed)
            }
            GroupBy::ChargeTier => {
                let tier = target.priced_tier().filter(|tier| is_special_tier(tier));
                KeyValue::Name(tier.map_or(USUAL_TIER.into(), |tier| tier.to_ascii_lowercase().into()))
            }
            GroupBy::ChargeRegion => {
                let letters = |region: &SmolStr| region.to_lowercase().split_whitespace().collect::<String>();
                KeyValue::of(target.region.as_ref().map(letters).as_deref(), MissingKey::Region)
            }
            GroupBy::ChargeDay => KeyValue::day(event.time, &Calendar::default()),
            GroupBy::Tier => known(&target.service_tier, MissingKey::Tier),
            GroupBy::Region => known(&target.region, MissingKey::Region),
            GroupBy::Resource => name(&target.resource, MissingKey::Resource),
            GroupBy::Api => name(&target.api, MissingKey::Api),
            GroupBy::Provider => name(&target.provider, MissingKey::Provider),
            GroupBy::Project => known(&target.project, MissingKey::Project),
            GroupBy::Source => KeyValue::Name(event.source.as_str().into()),
            GroupBy::Tag(tag) => KeyValue::of(caller.tags.get(tag).map(SmolStr::as_str), MissingKey::Tag),
        }
    }
}

impl GroupBy {
    /// The value of this key where a deployment's fixed cost of a month was not used.
    pub(super) fn of_idle(&self, deployment: &str, month: Timestamp) -> KeyValue {
        match self {
            GroupBy::Deployment => KeyValue::Name(deployment.into()),
            // The months of fixed costs are those of UTC.
            GroupBy::Month | GroupBy::ChargeDay => KeyValue::month(month, &Calendar::default()),
            _ => KeyValue::Missing(MissingKey::Idle),
        }
    }
}

impl fmt::Display for GroupBy {
    /// The column's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let GroupBy::Tag(tag) = self {
            return write!(f, "{TAG}{tag}");
        }
        let unlisted = [
            ("charge_day", GroupBy::ChargeDay),
            ("charge_tier", GroupBy::ChargeTier),
            ("charge_region", GroupBy::ChargeRegion),
            ("billed_model", GroupBy::BilledModel),
            ("price", GroupBy::Price),
        ];
        let word = WORDS.iter().chain(&unlisted).find(|(_, key)| key == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl FromStr for GroupBy {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<GroupBy, ReportError> {
        if let Some(tag) = text.strip_prefix(TAG).filter(|tag| !tag.is_empty()) {
            return Ok(GroupBy::Tag(tag.into()));
        }
        let found = WORDS.iter().find(|(word, _)| *word == text).map(|(_, key)| key.clone());
        found.ok_or_else(|| ReportError::Key { given: text.to_owned(), known: GroupBy::words() })
    }
}
