//! Rows: events added up by keys.

use std::collections::HashMap;

use jiff::Timestamp;

use super::calendar::Calendar;
use super::group_by::GroupBy;
use super::key_value::KeyValue;
use super::pricing::Cost;
use super::shares::Shares;
use super::sums::{ReportSums, SumOverflow};

/// One combination of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// The keys' values, in the order asked for.
    pub keys: Vec<KeyValue>,
    /// Their sums.
    pub sums: ReportSums,
}

/// Usage added up by some keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportView {
    /// The keys.
    pub by: Vec<GroupBy>,
    /// One line for each combination, in order of the keys.
    pub lines: Vec<ReportLine>,
}

/// Adding up by some keys.
pub(super) struct Rows {
    by: Vec<GroupBy>,
    /// Those that the parts of an event have, each its own.
    of_parts: Vec<GroupBy>,
    lines: HashMap<Vec<KeyValue>, ReportSums>,
    /// The keys of the event at hand, so that only a new row allocates.
    keys: Vec<KeyValue>,
}

impl Rows {
    pub(super) fn new(by: Vec<GroupBy>) -> Rows {
        let of_parts = by.iter().filter(|key| key.is_of_parts()).cloned().collect();
        Rows { by, of_parts, lines: HashMap::new(), keys: Vec::new() }
    }

    /// Adds an event, whose sums as a whole are `whole`. No row can be too large that the total has taken. `weigh` is told
    /// of each row what the event weighs there in a fixed cost, if it has a share in one.
    pub(super) fn add(
        &mut self,
        shares: &Shares<'_>,
        whole: &ReportSums,
        calendar: &Calendar,
        mut weigh: impl FnMut(&Vec<KeyValue>, u128),
    ) -> Result<(), SumOverflow> {
        self.keys.clear();
        self.keys.extend(self.by.iter().map(|key| key.of(shares.event, calendar)));
        if self.of_parts.is_empty() {
            self.add_row(whole)?;
            shares.weight().into_iter().for_each(|weight| weigh(&self.keys, weight));
            return Ok(());
        }
        for group in shares.by_part(&self.of_parts)? {
            let mut values = group.values.into_iter();
            let of_parts = self.by.iter().zip(&mut self.keys).filter(|(key, _)| key.is_of_parts());
            of_parts.zip(&mut values).for_each(|((_, key), value)| *key = value);
            self.add_row(&group.sums)?;
            group.weight.into_iter().for_each(|weight| weigh(&self.keys, weight));
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Adds to what a row costs.
    pub(super) fn charge(&mut self, keys: Vec<KeyValue>, cost: Cost) {
        self.lines.entry(keys).or_default().charge(cost);
    }

    /// Adds the part of a month's fixed cost that nobody used, as a row of its own.
    pub(super) fn charge_idle(&mut self, deployment: &str, month: Timestamp, cost: Cost) {
        let keys = self.by.iter().map(|key| key.of_idle(deployment, month)).collect();
        self.charge(keys, cost);
    }

    fn add_row(&mut self, more: &ReportSums) -> Result<(), SumOverflow> {
        match self.lines.get_mut(self.keys.as_slice()) {
            Some(sums) => *sums = sums.plus(more)?,
            None => {
                self.lines.insert(self.keys.clone(), *more);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> ReportView {
        let lines = self.lines.into_iter().map(|(keys, sums)| ReportLine { keys, sums });
        let mut lines: Vec<ReportLine> = lines.collect();
        lines.sort_unstable_by(|a, b| a.keys.cmp(&b.keys));
        ReportView { by: self.by, lines }
    }
}
