//! Times, days and intervals as Azure writes them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// An instant with `Z` or an offset, with or without seconds; one without either is UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = text.parse().or_else(|_| format!("{text}Z").parse());
    zoned.ok().or_else(|| text.strip_suffix('Z').and_then(|text| format!("{text}:00Z").parse().ok()))
}

/// The UTC day of a cost: an instant, `2026-11-22`, or `11/22/2026`.
pub(super) fn day(text: &str) -> Option<Date> {
    let text = text.trim();
    let iso = || text.parse::<Date>().ok().filter(|_| text.len() == "2026-11-22".len());
    iso().or_else(|| american(text)).or_else(|| instant(text).map(day_of))
}

fn american(text: &str) -> Option<Date> {
    let mut parts = text.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && year.len() == 4;
    let date = || Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok();
    if is_whole { date() } else { None }
}

/// The UTC day of an instant.
pub(super) fn day_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// The instant at which a UTC day begins.
pub(super) fn begin_of(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// An interval: `PT1H` and `P1D` as the service says, `1:00:00` and `1 day, 0:00:00` as older clients do.
pub(super) fn interval(text: &str) -> Option<SignedDuration> {
    if text.starts_with('P') {
        let span: Span = text.parse().ok()?;
        return span.to_duration(Date::constant(2026, 1, 1)).ok();
    }
    let (days, clock) = match text.split_once(" day") {
        Some((days, clock)) => (days.parse::<i64>().ok()?, clock.trim_start_matches(['s', ',', ' '])),
        None => (0, text),
    };
    let clock = if clock.is_empty() && days > 0 { "0:00:00" } else { clock };
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let seconds = days.checked_mul(86_400)?.checked_add(hours.checked_mul(3600)? + minutes * 60 + seconds)?;
    Some(SignedDuration::from_secs(seconds))
}

/// The two ends of a `timespan`.
pub(super) fn timespan(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (from, to) = text.split_once('/')?;
    Some((instant(from)?, instant(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_an_instant_are_read() {
        for text in [
            "2026-11-22T09:00:00Z",
            "2026-11-22T09:00:00+00:00",
            "2026-11-22T10:00:00+01:00",
            "2026-11-22T09:00Z",
            "2026-11-22T09:00:00",
            "2026-11-22T09:00:00.0000000Z",
        ] {
            assert_eq!(
                instant(text).map(|time| time.to_string()).as_deref(),
                Some("2026-11-22T09:00:00Z"),
                "{text}"
            );
        }
        assert_eq!((instant("yesterday"), instant("")), (None, None));
    }

    #[test]
    fn days_of_costs_are_read() {
        for text in
            ["2026-11-22", "11/22/2026", "2026-11-22T00:00Z", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00"]
        {
            assert_eq!(day(text), Some(Date::constant(2026, 11, 22)), "{text}");
        }
        for text in ["22/11/2026", "11/22/26", "2026-13-01", "", "11/22"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn intervals_are_read() {
        for (text, seconds) in [
            ("PT1M", 60),
            ("PT1H", 3600),
            ("P1D", 86_400),
            ("1:00:00", 3600),
            ("0:01:00", 60),
            ("1 day, 0:00:00", 86_400),
        ] {
            assert_eq!(interval(text).map(|interval| interval.as_secs()), Some(seconds), "{text}");
        }
        assert_eq!((interval("FULL"), interval("")), (None, None));
    }
}
