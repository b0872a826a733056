//! The calendar by which days, weeks, months and hours are told, and instants as people give them.
//!
//! Time zones are those of the IANA database that is compiled in, so that a report is the same on every machine.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use super::error::ReportError;

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

    /// The Monday of its week.
    pub(super) fn monday(&self, time: Timestamp) -> Date {
        let day = self.date(time);
        let before = i64::from(day.weekday().to_monday_zero_offset());
        let monday = day.checked_sub(jiff::Span::new().days(before));
        monday.unwrap_or(day)
    }

    /// The beginning of its hour, and the offset there: an hour is told apart from one with the same name that comes when
    /// clocks go back.
    pub(super) fn hour(&self, time: Timestamp) -> (Timestamp, Offset) {
        let (offset, local) = (self.zone.to_offset(time), self.local(time));
        let begin = local.date().to_datetime(Time::constant(local.hour(), 0, 0, 0));
        (offset.to_timestamp(begin).unwrap_or(time), offset)
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
    use super::*;

    fn of(zone: &str) -> Calendar {
        Calendar::of_zone(zone).unwrap()
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
