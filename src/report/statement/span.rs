//! The time that a statement covers, in words.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::data::Statement;
use crate::report::key_value::KeyValue;

impl Statement {
    /// `1 to 30 November` has days; what does not begin and end with a day has instants.
    pub(super) fn span_text(&self) -> String {
        let zone = self.calendar.zone_name();
        let (first, last) = self.day_range();
        let text = match (self.from, self.to) {
            (None, None) => match first.zip(last) {
                Some((first, last)) => format!("all events of the input, {first} to {last}"),
                None => "all events of the input, of which there are none".to_owned(),
            },
            (from, to) => match (from.map(|from| self.day_of(from)), to.map(|to| self.day_before(to))) {
                (Some(Some(from)), Some(Some(to))) if from == to => from.to_string(),
                (Some(Some(from)), Some(Some(to))) => format!("{from} to {to}"),
                (Some(Some(from)), None) => format!("from {from} on"),
                (None, Some(Some(to))) => format!("until {to}"),
                _ => {
                    let from = from.map_or(String::new(), |from| format!("from {from} "));
                    let to = to.map_or(String::new(), |to| format!("until before {to}"));
                    (from + &to).trim_end().to_owned()
                }
            },
        };
        format!("{text} ({zone})")
    }

    /// The first and the last day that have usage.
    fn day_range(&self) -> (Option<Date>, Option<Date>) {
        let day = |line: Option<&crate::report::rows::ReportLine>| match line?.keys.first() {
            Some(KeyValue::Day(day)) => Some(*day),
            _ => None,
        };
        (day(self.days.first()), day(self.days.last()))
    }

    /// The day that begins at an instant.
    fn day_of(&self, begin: Timestamp) -> Option<Date> {
        let day = self.calendar.date(begin);
        (self.calendar.instant(&day.to_string()).ok()? == begin).then_some(day)
    }

    /// The day that ends at an instant.
    fn day_before(&self, end: Timestamp) -> Option<Date> {
        self.day_of(end)?;
        let before = end.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        Some(self.calendar.date(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::calendar::Calendar;

    #[test]
    fn whole_days_are_told_as_days() {
        let calendar = Calendar::of_zone("Europe/Berlin").unwrap();
        let text = |from: &str, to: &str| {
            let instant = |text: &str| (!text.is_empty()).then(|| calendar.instant(text).unwrap());
            let (from, to) = (instant(from), instant(to));
            Statement { calendar: calendar.clone(), from, to, ..Statement::default() }.span_text()
        };
        assert_eq!(text("2026-11", "2026-12"), "2026-11-01 to 2026-11-30 (Europe/Berlin)");
        assert_eq!(text("2026-10-25", "2026-10-26"), "2026-10-25 (Europe/Berlin)");
        assert_eq!(text("2026-11-01", ""), "from 2026-11-01 on (Europe/Berlin)");
        assert_eq!(text("", "2026-12-01"), "until 2026-11-30 (Europe/Berlin)");
        assert_eq!(
            text("2026-11-01T00:00:00Z", "2026-12-01"),
            "from 2026-11-01T00:00:00Z until before 2026-11-30T23:00:00Z (Europe/Berlin)"
        );
    }
}
