//! The sums of a row.

use super::columns::{COLUMNS, Column};
use super::pricing::{Amount, BilledPart, Cost};
use super::usage_event::UsageEvent;

/// The sums of some events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportSums {
    numbers: [u64; COLUMNS.len()],
    /// The cost of what has a price.
    priced: Cost,
    /// Calls of which something has no price; 0 without prices.
    pub unpriced_calls: u64,
}

/// The sum of this column is more than 64 bits hold, or 128 of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SumOverflow {
    /// The column that is.
    pub(super) column: &'static str,
}

fn too_large(column: Column) -> SumOverflow {
    SumOverflow { column: column.name() }
}

impl ReportSums {
    /// The columns' names, in order.
    pub fn columns() -> impl Iterator<Item = &'static str> {
        COLUMNS.into_iter().map(Column::name)
    }

    /// The columns' values, in the same order.
    pub fn values(&self) -> [u64; COLUMNS.len()] {
        self.numbers
    }

    /// The value of the column of that name.
    pub fn get(&self, column: &str) -> Option<u64> {
        ReportSums::columns().zip(self.values()).find(|(name, _)| *name == column).map(|(_, value)| value)
    }

    pub(super) fn of_column(&self, column: Column) -> u64 {
        let at = COLUMNS.iter().position(|other| *other == column);
        at.and_then(|at| self.numbers.get(at)).copied().unwrap_or(0)
    }

    /// The cost of what has a price; `None`: nothing has. Without prices it says nothing.
    pub fn cost(&self) -> Option<Amount> {
        self.known(self.priced.first, self.unpriced_calls > 0)
    }

    /// The same in the second currency; `None`: nothing has a price and a rate.
    pub fn cost_2(&self) -> Option<Amount> {
        let is_more = self.priced.first.is_some_and(|first| first != Amount::default());
        self.known(self.priced.second, self.unpriced_calls > 0 || is_more)
    }

    /// No calls cost nothing, and that is known. Calls that used nothing beside others whose cost is not known are not.
    fn known(&self, cost: Option<Amount>, is_more: bool) -> Option<Amount> {
        let cost = cost.or_else(|| (self.of_column(Column::Calls) == 0).then(Amount::default));
        cost.filter(|cost| !is_more || *cost != Amount::default())
    }

    /// Adds what some of the calls cost.
    pub(super) fn charge(&mut self, cost: Cost) {
        self.priced.add(cost);
    }

    /// The calls of an event, with none of its tokens and units.
    pub(super) fn of_calls(event: &UsageEvent, is_unknown: bool, contradicted: bool) -> ReportSums {
        let mut sums = ReportSums::default();
        for (number, column) in sums.numbers.iter_mut().zip(COLUMNS) {
            *number = match column {
                Column::Calls => event.calls,
                Column::UnknownCalls if is_unknown => event.calls,
                Column::ContradictedCalls if contradicted => event.calls,
                _ => 0,
            };
        }
        sums
    }

    /// Adds a part of an event.
    pub(super) fn add_part(&mut self, part: &BilledPart, event: &UsageEvent) -> Result<(), SumOverflow> {
        for (number, column) in self.numbers.iter_mut().zip(COLUMNS) {
            *number = number.checked_add(column.of_part(part, event)).ok_or_else(|| too_large(column))?;
        }
        Ok(())
    }

    /// The sum of both; neither is changed where it would be too large.
    pub(super) fn plus(&self, more: &ReportSums) -> Result<ReportSums, SumOverflow> {
        let mut sums = *self;
        for ((sum, more), column) in sums.numbers.iter_mut().zip(more.numbers).zip(COLUMNS) {
            *sum = sum.checked_add(more).ok_or_else(|| too_large(column))?;
        }
        // There are no more of them than calls.
        sums.unpriced_calls = sums.unpriced_calls.saturating_add(more.unpriced_calls);
        sums.charge(more.priced);
        match sums.priced.too_large() {
            Some(column) => Err(SumOverflow { column }),
            None => Ok(sums),
        }
    }

    /// Sums for tests, whose other columns are 0.
    #[cfg(test)]
    pub(super) fn of<const N: usize>(values: [(&str, u64); N]) -> ReportSums {
        let mut sums = ReportSums::default();
        for (column, value) in values {
            let place = ReportSums::columns().position(|name| name == column).unwrap();
            sums.numbers[place] = value;
        }
        sums
    }
}
