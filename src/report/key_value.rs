//! The values of the keys of a row say what the row is about.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use smol_str::SmolStr;
use strum::{IntoStaticStr, VariantArray};

use super::calendar::Calendar;
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
    /// The hour of an instant.
    pub(super) fn hour(time: Timestamp, calendar: &Calendar) -> KeyValue {
        let (begin, offset) = calendar.hour(time);
        KeyValue::Hour(begin, offset)
    }

    /// The day of an instant.
    pub(super) fn day(time: Timestamp, calendar: &Calendar) -> KeyValue {
        KeyValue::Day(calendar.date(time))
    }

    /// The week of an instant.
    pub(super) fn week(time: Timestamp, calendar: &Calendar) -> KeyValue {
        KeyValue::Week(calendar.monday(time))
    }

    /// The month of an instant.
    pub(super) fn month(time: Timestamp, calendar: &Calendar) -> KeyValue {
        KeyValue::Month(calendar.date(time).first_of_month())
    }

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(zone: &str) -> Calendar {
        Calendar::of_zone(zone).unwrap()
    }

    fn text(value: &KeyValue) -> String {
        value.value().unwrap().into_owned()
    }

    #[test]
    fn a_day_is_that_of_the_zone() {
        let time: Timestamp = "2026-11-30T23:30:00Z".parse().unwrap();
        for (zone, day, week, month, hour) in [
            ("UTC", "2026-11-30", "2026-W49", "2026-11", "2026-11-30T23:00:00Z"),
            ("Europe/Berlin", "2026-12-01", "2026-W49", "2026-12", "2026-12-01T00:00:00+01:00"),
            ("Asia/Kolkata", "2026-12-01", "2026-W49", "2026-12", "2026-12-01T05:00:00+05:30"),
            ("America/St_Johns", "2026-11-30", "2026-W49", "2026-11", "2026-11-30T20:00:00-03:30"),
        ] {
            let here = of(zone);
            let found =
                [KeyValue::day, KeyValue::week, KeyValue::month, KeyValue::hour].map(|of| of(time, &here));
            assert_eq!(found.map(|value| text(&value)), [day, week, month, hour], "{zone}");
        }
        let utc = Calendar::default();
        let week = |text_of: &str| text(&KeyValue::week(text_of.parse().unwrap(), &utc));
        assert_eq!(
            (week("2027-01-03T23:59:59Z"), week("2027-01-04T00:00:00Z")),
            ("2026-W53".to_owned(), "2027-W01".to_owned())
        );
        assert_eq!(week("2024-12-30T00:00:00Z"), "2025-W01");
    }

    /// The hours of a day, in order, with the minutes of each.
    fn hours(zone: &str, day: &str) -> Vec<(String, u32)> {
        let here = of(zone);
        let from = here.instant(day).unwrap();
        let mut hours: BTreeMap<KeyValue, u32> = BTreeMap::new();
        for minute in 0..26 * 60 {
            let time = from + jiff::SignedDuration::from_mins(minute);
            if text(&KeyValue::day(time, &here)) == day {
                *hours.entry(KeyValue::hour(time, &here)).or_default() += 1;
            }
        }
        hours.into_iter().map(|(hour, minutes)| (text(&hour), minutes)).collect()
    }

    #[test]
    fn a_day_on_which_clocks_change_has_an_hour_more_or_less() {
        for (zone, day, count) in [
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("America/New_York", "2026-11-01", 25),
            ("Asia/Kolkata", "2026-03-29", 24),
        ] {
            let hours = hours(zone, day);
            assert_eq!(hours.len(), count, "{zone} {day}");
            assert!(hours.iter().all(|(_, minutes)| *minutes == 60), "{hours:?}");
        }
        let twice: Vec<String> =
            hours("Europe/Berlin", "2026-10-25")[2..4].iter().map(|h| h.0.clone()).collect();
        assert_eq!(twice, ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"], "in the order of time");
        let half = hours("Australia/Lord_Howe", "2026-04-05");
        assert_eq!(half.iter().map(|(_, minutes)| minutes).sum::<u32>(), 24 * 60 + 30);
    }
}
