//! The calendar by which days, weeks, months and hours are told, and instants as people give them.
//!
//! Time zones are those of the IANA database that is compiled in, so that a report is the same on every machine.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::error::ReportError;
use super::key_value::KeyValue;

/// Names that are near enough to be meant (Jaro-Winkler).
const NEAR: f64 = 0.8;

/// The days and hours of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    zone: TimeZone,
}

impl Default for Calendar {
    fn default() -> Calendar {
        Calendar { zone: TimeZone::UTC }
    }
}

impl Calendar {
    /// The calendar of a time zone by its IANA name, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn of_zone(name: &str) -> Result<Calendar, ReportError> {
        let zone = jiff::tz::db().get(name);
        let zone = zone.map_err(|_| ReportError::TimeZone { given: name.to_owned(), near: near(name) })?;
        Ok(Calendar { zone })
    }

    /// The zone's name.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The instant that a `--from` or `--to` means: RFC 3339, or a day or a month, which begin at midnight here.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn instant(&self, text: &str) -> Result<Timestamp, ReportError> {
        let day = || text.parse::<Date>().or_else(|_| format!("{text}-01").parse()).ok();
        let begin = || Some(day()?.to_zoned(self.zone.clone()).ok()?.timestamp());
        let instant = text.parse().ok().or_else(|| begin().filter(|_| is_date(text)));
        instant.ok_or_else(|| ReportError::Time(text.to_owned()))
    }

    /// The time of day and the day that it is here.
    fn local(&self, time: Timestamp) -> DateTime {
        self.zone.to_datetime(time)
    }

    /// The day of an instant.
    pub fn date(&self, time: Timestamp) -> Date {
        self.local(time).date()
    }

    pub(super) fn day(&self, time: Timestamp) -> KeyValue {
        KeyValue::Day(self.date(time))
    }

    pub(super) fn week(&self, time: Timestamp) -> KeyValue {
        let day = self.date(time);
        let before = i64::from(day.weekday().to_monday_zero_offset());
        let monday = day.checked_sub(jiff::Span::new().days(before));
        KeyValue::Week(monday.unwrap_or(day))
    }

    pub(super) fn month(&self, time: Timestamp) -> KeyValue {
        KeyValue::Month(self.date(time).first_of_month())
    }

    /// An hour is told apart from one with the same name that comes when clocks go back.
    pub(super) fn hour(&self, time: Timestamp) -> KeyValue {
        let (offset, local) = (self.zone.to_offset(time), self.local(time));
        let begin = local.date().to_datetime(Time::constant(local.hour(), 0, 0, 0));
        KeyValue::Hour(offset.to_timestamp(begin).unwrap_or(time), offset)
    }
}

/// `2026-11` or `2026-11-22`, and nothing that jiff would also take for a day.
fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00" || shape == "0000-00"
}

/// A zone that may be meant.
fn near(name: &str) -> Option<String> {
    let likeness = |zone: &str| {
        // People know the city.
        let city = zone.rsplit('/').next().unwrap_or(zone);
        let [name, zone, city] = [name, zone, city].map(str::to_ascii_lowercase);
        strsim::jaro_winkler(&name, &zone).max(strsim::jaro_winkler(&name, &city))
    };
    let zones = jiff::tz::db().available().map(|zone| (likeness(zone.as_str()), zone.as_str().to_owned()));
    let best = zones.filter(|(likeness, _)| *likeness >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, zone)| zone)
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
            let found = [here.day(time), here.week(time), here.month(time), here.hour(time)];
            assert_eq!(found.map(|value| text(&value)), [day, week, month, hour], "{zone}");
        }
        let utc = Calendar::default();
        let week = |text_of: &str| text(&utc.week(text_of.parse().unwrap()));
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
            if text(&here.day(time)) == day {
                *hours.entry(here.hour(time)).or_default() += 1;
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

    #[test]
    fn days_and_months_begin_at_midnight_of_the_zone() {
        let berlin = of("europe/berlin");
        assert_eq!(berlin.zone_name(), "Europe/Berlin");
        for (given, instant) in [
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("2026-11", "2026-10-31T23:00:00Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z"),
            ("2026-11-22T09:00:00+05:00", "2026-11-22T04:00:00Z"),
        ] {
            assert_eq!(berlin.instant(given).unwrap().to_string(), instant, "{given}");
        }
        for wrong in
            ["", "2026", "2026-13", "2026-11-31", "20261122", "2026-11-22T09:00:00", "22.11.2026", "now"]
        {
            assert!(berlin.instant(wrong).is_err(), "{wrong}");
        }
        // No midnight: clocks went from 0 to 1 o'clock.
        assert_eq!(
            of("America/Sao_Paulo").instant("2018-11-04").unwrap().to_string(),
            "2018-11-04T03:00:00Z"
        );
    }

    #[test]
    fn a_zone_that_is_not_known_is_refused_with_one_that_may_be_meant() {
        for (given, meant) in
            [("Europe/Berln", "did you mean Europe/Berlin?"), ("Berlin", "did you mean Europe/Berlin?")]
        {
            let said = Calendar::of_zone(given).unwrap_err().to_string();
            assert!(said.contains(meant), "{said}");
        }
        assert!(Calendar::of_zone("+01:00").is_err() && Calendar::of_zone("").is_err());
    }
}
