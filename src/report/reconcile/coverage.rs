//! The time that Azure's files cover, and the days in it.

use jiff::Timestamp;
use jiff::civil::Date;

use super::azure_time::day_of;

/// Stretches of time, in order, that do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage(Vec<(Timestamp, Timestamp)>);

impl Coverage {
    /// Adds a stretch, the end exclusive.
    pub(super) fn add(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        self.0.push((from, to));
        self.0.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        self.0 = merged;
    }

    /// Adds all of another.
    pub(super) fn join(&mut self, other: &Coverage) {
        other.0.iter().for_each(|(from, to)| self.add(*from, *to));
    }

    /// Returns the part of it that lies in a range.
    pub(super) fn within(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Coverage {
        let mut within = Coverage::default();
        for (begin, end) in &self.0 {
            within.add(from.map_or(*begin, |from| from.max(*begin)), to.map_or(*end, |to| to.min(*end)));
        }
        within
    }

    /// The UTC day of an instant, if it is covered.
    pub(super) fn day(&self, time: Timestamp) -> Option<Date> {
        let after = self.0.partition_point(|(from, _)| *from <= time);
        let (_, to) = self.0.get(after.checked_sub(1)?)?;
        (time < *to).then(|| day_of(time))
    }

    /// The first and the last instant.
    pub(super) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    #[test]
    fn stretches_that_meet_are_one() {
        let mut coverage = Coverage::default();
        coverage.add(at("02T00:00"), at("03T00:00"));
        coverage.add(at("05T09:00"), at("05T17:00"));
        coverage.add(at("01T00:00"), at("02T00:00"));
        coverage.add(at("04T00:00"), at("04T00:00"));
        assert_eq!(coverage.0.len(), 2);
        let day = |text| coverage.day(at(text)).map(|day| day.day());
        assert_eq!(
            [
                day("01T00:00"),
                day("02T23:59"),
                day("03T00:00"),
                day("05T08:59"),
                day("05T09:00"),
                day("05T17:00")
            ],
            [Some(1), Some(2), None, None, Some(5), None]
        );
        let within = coverage.within(Some(at("02T12:00")), None);
        assert_eq!(within.ends(), Some((at("02T12:00"), at("05T17:00"))));
        assert_eq!(coverage.within(Some(at("03T00:00")), Some(at("04T00:00"))), Coverage::default());
    }
}
