//! What a row is about: the values of its keys.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use smol_str::SmolStr;
use strum::{IntoStaticStr, VariantArray};

use super::pricing::PriceName;

/// The value of one key. Values of one key are in the order that a reader expects: names by their letters, times as
/// they pass, and what is missing last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// A name, as the event has it.
    Name(SmolStr),
    /// An hour of a time zone, by its beginning there.
    Hour(Timestamp, Offset),
    /// A day of a time zone.
    Day(Date),
    /// An ISO week, by any of its days.
    Week(Date),
    /// A month, by its first day.
    Month(Date),
    /// A price.
    Price(Arc<PriceName>),
    /// The event has none.
    Missing(MissingKey),
}

/// Why an event has no value for a key; the words stand in tables and CSV, in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum MissingKey {
    /// No caller is known, so no map can name who pays.
    #[strum(serialize = "unattributed")]
    Unattributed,
    /// The caller map does not say.
    #[strum(serialize = "not in the map")]
    NotInTheMap,
    /// Neither the response nor the request names a model.
    #[strum(serialize = "no model")]
    Model,
    /// The call names no deployment.
    #[strum(serialize = "no deployment")]
    Deployment,
    /// The response names no tier.
    #[strum(serialize = "no tier")]
    Tier,
    /// The response names no region.
    #[strum(serialize = "no region")]
    Region,
    /// No upstream is named.
    #[strum(serialize = "no resource")]
    Resource,
    /// No API is named.
    #[strum(serialize = "no api")]
    Api,
    /// No provider is named.
    #[strum(serialize = "no provider")]
    Provider,
    /// The path names no project.
    #[strum(serialize = "no project")]
    Project,
    /// The call carries no tag of that name.
    #[strum(serialize = "no tag")]
    Tag,
    /// `class` of calls of which a number is not known.
    #[strum(serialize = "not known")]
    NotKnown,
    /// `class` of calls that used nothing.
    #[strum(serialize = "nothing used")]
    NothingUsed,
    /// `price` of what has none.
    #[strum(serialize = "no price")]
    NoPrice,
    /// `price` of what has a share in a fixed cost.
    #[strum(serialize = "fixed cost")]
    FixedCost,
    /// Nobody: it is the part of a fixed cost that was not used.
    #[strum(serialize = "idle")]
    Idle,
}

impl MissingKey {
    /// The words, without their parentheses.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl KeyValue {
    /// A name, or why there is none.
    pub(super) fn of(name: Option<&str>, missing: MissingKey) -> KeyValue {
        match name.filter(|name| !name.is_empty()) {
            Some(name) => KeyValue::Name(name.into()),
            None => KeyValue::Missing(missing),
        }
    }

    /// The value; `None` where it is missing.
    pub fn value(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            KeyValue::Name(name) => Cow::Borrowed(name.as_str()),
            KeyValue::Hour(begin, offset) => Cow::Owned(hour_text(*begin, *offset)),
            KeyValue::Day(day) => Cow::Owned(day.to_string()),
            KeyValue::Week(day) => {
                let week = day.iso_week_date();
                Cow::Owned(format!("{:04}-W{:02}", week.year(), week.week()))
            }
            KeyValue::Month(first) => Cow::Owned(format!("{:04}-{:02}", first.year(), first.month())),
            KeyValue::Price(price) => Cow::Borrowed(price.id.as_str()),
            KeyValue::Missing(_) => return None,
        })
    }

    /// Why it is missing.
    pub fn missing(&self) -> Option<MissingKey> {
        match self {
            KeyValue::Missing(missing) => Some(*missing),
            _ => None,
        }
    }

    /// The value as tables and CSV have it, where a missing one is named too. `shown`: how a name may stand there.
    pub(super) fn label<'a>(&'a self, shown: impl Fn(&'a str) -> Cow<'a, str>) -> Cow<'a, str> {
        match self {
            KeyValue::Name(name) => shown(name),
            KeyValue::Missing(missing) => Cow::Owned(format!("({})", missing.as_str())),
            time => time.value().unwrap_or_default(),
        }
    }
}

/// A name that somebody would take for one of the labels of what is missing.
pub(super) fn reads_like_missing(name: &str) -> bool {
    let name = name.trim().strip_prefix('(').and_then(|name| name.strip_suffix(')'));
    name.is_some_and(|name| {
        MissingKey::VARIANTS.iter().any(|missing| missing.as_str().eq_ignore_ascii_case(name.trim()))
    })
}

/// RFC 3339, with `Z` for UTC.
fn hour_text(begin: Timestamp, offset: Offset) -> String {
    let local = offset.to_datetime(begin);
    let begin = local.strftime("%Y-%m-%dT%H:00:00");
    if offset == Offset::UTC {
        return format!("{begin}Z");
    }
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{begin}{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}
