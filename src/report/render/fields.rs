//! The columns of a report and its cells, before they are text: every format is made of these.

use crate::report::columns::{COLUMNS, Column};
use crate::report::key_value::KeyValue;
use crate::report::pricing::Amount;
use crate::report::rows::ReportLine;
use crate::report::sums::ReportSums;
use crate::report::tally::Report;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    pub(super) kind: FieldKind,
}

/// A column holds one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// The values of a key, by its place.
    Key(usize),
    Number(Column),
    Cost,
    Currency,
    Cost2,
    Currency2,
    UnpricedCalls,
}

/// A cell: the content of a column in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    /// `None` in the total.
    Key(Option<&'a KeyValue>),
    Number(u64),
    /// `None`: there is no price.
    Money(Option<Amount>),
    Word(&'a str),
}

impl Report {
    /// The columns, in order.
    pub(super) fn fields(&self) -> Vec<Field> {
        let keys = self.by.iter().enumerate().map(|(at, key)| (key.to_string(), FieldKind::Key(at)));
        let numbers = COLUMNS.map(|column| (column.name().to_owned(), FieldKind::Number(column)));
        let priced = [
            ("cost", FieldKind::Cost),
            ("currency", FieldKind::Currency),
            ("cost_2", FieldKind::Cost2),
            ("currency_2", FieldKind::Currency2),
            ("unpriced_calls", FieldKind::UnpricedCalls),
        ];
        let is_asked = |kind| match kind {
            FieldKind::Cost2 | FieldKind::Currency2 => self.cost.currency_2.is_some(),
            _ => self.currency.is_some(),
        };
        let priced = priced.into_iter().filter(|(_, kind)| is_asked(*kind));
        let priced = priced.map(|(name, kind)| (name.to_owned(), kind));
        keys.chain(numbers).chain(priced).map(|(name, kind)| Field { name, kind }).collect()
    }

    /// Returns the cell of a column in the line of these keys and sums; the total has no keys.
    pub(super) fn cell<'a>(&'a self, kind: FieldKind, keys: &'a [KeyValue], sums: &ReportSums) -> Cell<'a> {
        match kind {
            FieldKind::Key(at) => Cell::Key(keys.get(at)),
            FieldKind::Number(column) => Cell::Number(sums.of_column(column)),
            FieldKind::Cost => Cell::Money(sums.cost()),
            FieldKind::Currency => Cell::Word(self.currency.as_deref().unwrap_or_default()),
            FieldKind::Cost2 => Cell::Money(sums.cost_2()),
            FieldKind::Currency2 => Cell::Word(self.cost.currency_2.as_deref().unwrap_or_default()),
            FieldKind::UnpricedCalls => Cell::Number(sums.unpriced_calls),
        }
    }

    /// The lines' keys and sums, and those of the total if it is wanted.
    pub(super) fn lines_and(&self, total: bool) -> impl Iterator<Item = (&[KeyValue], &ReportSums)> {
        let lines = self.lines.iter().map(|ReportLine { keys, sums }| (keys.as_slice(), sums));
        lines.chain(total.then_some((&[] as &[KeyValue], &self.total)))
    }
}
