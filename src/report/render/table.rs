//! A report as a table for people.

use super::fields::{Cell, Field, FieldKind};
use super::text_table::{CellKind, Importance, TextColumn, TextTable};
use crate::report::columns::Column;
use crate::report::key_value::{KeyValue, reads_like_missing};
use crate::report::money_text::{money, scale_of};
use crate::report::sums::ReportSums;
use crate::report::tally::Report;
use metering::names;
use metering::usage::{Quality, TokenClass};

/// First key of the total, and what it is where calls have no price.
pub(super) const TOTAL: &str = "total";
pub(super) const INCOMPLETE: &str = "total (incomplete)";

/// Decimal places of money that people are shown; other formats have them all.
const PLACES_MAX: u32 = 6;

/// Decimal places of an amount.
const PLACES_ALL: u32 = 18;

/// Stands for what is not known.
const NOT_KNOWN: &str = "-";

impl Report {
    /// The table, with the total below it.
    pub(super) fn table(&self, wide: bool, columns: Option<usize>) -> String {
        let places = if wide { PLACES_ALL } else { PLACES_MAX };
        let fields = self.fields();
        let shown = fields.iter().filter(|field| wide || self.is_shown(field.kind));
        let columns_of = shown.map(|field| self.text_column(field, places)).collect();
        let columns = if wide { None } else { columns };
        TextTable { columns: columns_of, has_total: true }.text(columns)
    }

    /// A column in which there is something. The currency stands in the header of the cost.
    fn is_shown(&self, kind: FieldKind) -> bool {
        match kind {
            FieldKind::Key(_) | FieldKind::Cost | FieldKind::Cost2 | FieldKind::Number(Column::Calls) => true,
            FieldKind::Currency | FieldKind::Currency2 => false,
            // By class a column may be told of calls, and never more than the total.
            FieldKind::Number(column) => self.total.of_column(column) > 0,
            FieldKind::UnpricedCalls => self.total.unpriced_calls > 0,
        }
    }

    fn text_column(&self, field: &Field, places: u32) -> TextColumn {
        let header = match (field.kind, &self.currency, &self.cost.currency_2) {
            (FieldKind::Cost, Some(currency), _) | (FieldKind::Cost2, _, Some(currency)) => {
                format!("{} {}", field.name, names::shown(currency))
            }
            _ => field.name.clone(),
        };
        let costs = self.lines_and(true).filter_map(|(_, sums)| match field.kind {
            FieldKind::Cost2 => sums.cost_2(),
            _ => sums.cost(),
        });
        let scale = scale_of(costs, places);
        let cells = self.lines_and(true).map(|(keys, sums)| self.text(field.kind, keys, sums, scale));
        TextColumn {
            header,
            kind: match field.kind {
                FieldKind::Key(_) | FieldKind::Currency | FieldKind::Currency2 => CellKind::Name,
                _ => CellKind::Number,
            },
            importance: importance(field.kind),
            cells: cells.collect(),
        }
    }

    fn text(&self, kind: FieldKind, keys: &[KeyValue], sums: &ReportSums, scale: u32) -> String {
        match self.cell(kind, keys, sums) {
            Cell::Key(Some(key)) => {
                key.label(|name| names::quoted(names::shown(name), is_reserved)).into_owned()
            }
            Cell::Key(None) => self.total_label(kind),
            Cell::Number(number) => number.to_string(),
            Cell::Money(Some(amount)) => money(amount, scale),
            Cell::Money(None) => NOT_KNOWN.to_owned(),
            Cell::Word(word) => names::shown(word).into_owned(),
        }
    }

    /// Returns the total's word in a key's column: the first one says that it is the total.
    pub(super) fn total_label(&self, kind: FieldKind) -> String {
        match kind {
            FieldKind::Key(0) if self.unpriced.is_empty() => TOTAL.to_owned(),
            FieldKind::Key(0) => INCOMPLETE.to_owned(),
            _ => String::new(),
        }
    }
}

/// Where there is no room for all, the parts of other numbers go first.
fn importance(kind: FieldKind) -> Importance {
    let FieldKind::Number(column) = kind else { return Importance::Kept };
    match column {
        Column::Calls | Column::Tokens(TokenClass::Input | TokenClass::Output) => Importance::Kept,
        Column::UnknownCalls => Importance::LeftOutAt(9),
        Column::ContradictedCalls => Importance::LeftOutAt(8),
        Column::Units(_) => Importance::LeftOutAt(7),
        Column::Of(Quality::Exact) => Importance::LeftOutAt(3),
        Column::Of(_) => Importance::LeftOutAt(6),
        Column::Tokens(TokenClass::InputCached) => Importance::LeftOutAt(5),
        Column::Tools(_) => Importance::LeftOutAt(4),
        Column::CacheWrite | Column::Audio(_) | Column::Image(_) => Importance::LeftOutAt(2),
        Column::Tokens(TokenClass::OutputReasoning) => Importance::LeftOutAt(1),
    }
}

/// A person, or a program that knows no case, would take it for the total, or for the label of what is missing.
pub(super) fn is_reserved(name: &str) -> bool {
    reads_like_total(name) || reads_like_missing(name)
}

fn reads_like_total(name: &str) -> bool {
    let name = name.trim_end().to_lowercase();
    name.strip_prefix(TOTAL).is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('('))
}
