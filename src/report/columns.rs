//! The columns of numbers, and their sums.

use super::pricing::Amount;
use super::usage_event::UsageEvent;
use metering::usage::{Quality, TokenClass, Unit};

/// A column of numbers. Unknown numbers add nothing; `unknown_calls` says for how many calls.
#[derive(Clone, Copy)]
enum Column {
    Calls,
    Tokens(TokenClass),
    /// Tokens of this quality.
    Of(Quality),
    UnknownCalls,
    /// Units that are billed otherwise than by tokens.
    Units(Unit),
}

const COLUMNS: [Column; 17] = [
    Column::Calls,
    Column::Tokens(TokenClass::Input),
    Column::Tokens(TokenClass::InputCached),
    Column::Tokens(TokenClass::Output),
    Column::Tokens(TokenClass::OutputReasoning),
    Column::Of(Quality::Exact),
    Column::Of(Quality::LowerBound),
    Column::Of(Quality::Estimated),
    Column::UnknownCalls,
    Column::Units(Unit::AudioMs),
    Column::Units(Unit::VideoMs),
    Column::Units(Unit::Images),
    Column::Units(Unit::Characters),
    Column::Units(Unit::Pages),
    Column::Units(Unit::SearchUnits),
    Column::Units(Unit::WebSearches),
    Column::Units(Unit::WebFetches),
];

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Calls => "calls",
            Column::Tokens(class) => class.as_str(),
            Column::Of(quality) => quality.as_str(),
            Column::UnknownCalls => "unknown_calls",
            Column::Units(unit) => unit.as_str(),
        }
    }

    /// The number that an event adds.
    fn value(self, event: &UsageEvent) -> u64 {
        match self {
            Column::Calls => event.calls,
            Column::Tokens(class) => class.of(&event.usage.tokens).unwrap_or(0),
            Column::Of(quality) => event.tokens_of(quality),
            Column::UnknownCalls => u64::from(event.is_unknown()) * event.calls,
            Column::Units(unit) => unit.of(&event.usage.units).unwrap_or(0),
        }
    }
}

/// The sums of some events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportSums {
    numbers: [u64; COLUMNS.len()],
    /// The cost of the tokens that have a price; 0 without prices.
    pub cost: Amount,
    /// Calls with tokens that have no price; 0 without prices.
    pub unpriced_calls: u64,
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

    /// The columns that a table for people leaves out: units of which there are none.
    pub(super) fn left_out(&self) -> impl Iterator<Item = usize> {
        let is_left_out = |(column, number): (Column, u64)| matches!(column, Column::Units(_)) && number == 0;
        let columns = COLUMNS.into_iter().zip(self.numbers).enumerate();
        columns.filter(move |(_, column)| is_left_out(*column)).map(|(place, _)| place)
    }

    /// The value of the column of that name.
    pub fn get(&self, column: &str) -> Option<u64> {
        ReportSums::columns().zip(self.values()).find(|(name, _)| *name == column).map(|(_, value)| value)
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

    /// Adds what a call costs, if that is known.
    pub(super) fn charge(&mut self, calls: u64, cost: Option<Amount>) {
        match cost {
            Some(cost) => self.cost.add(cost),
            None => self.unpriced_calls += calls,
        }
    }

    /// Adds an event's numbers.
    pub(super) fn add(&mut self, event: &UsageEvent) {
        for (number, column) in self.numbers.iter_mut().zip(COLUMNS) {
            *number += column.value(event);
        }
    }
}
