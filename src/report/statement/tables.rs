//! Usage by keys, as tables of HTML.

use maud::{Markup, html};

use super::data::{Statement, StatementTable, tokens, weight};
use super::share::{percent, thousandths};
use crate::report::columns::{COLUMNS, Column};
use crate::report::key_value::KeyValue;
use crate::report::money_text::{grouped, money, scale_of};
use crate::report::pricing::Amount;
use crate::report::rows::ReportLine;
use crate::report::sums::ReportSums;
use metering::names;
use metering::usage::TokenClass;

/// Decimal places of money: as few as show a sum, and more only where it is less than that.
pub(super) const PLACES_MIN: u32 = 2;
const PLACES_MAX: u32 = 6;

/// A sum from which [`PLACES_MIN`] places are enough, in 10^-18.
const LARGE: u128 = 10_u128.pow(18);

/// Columns that a statement has where there is something in them.
fn is_told(column: Column) -> bool {
    matches!(
        column,
        Column::Calls
            | Column::Tokens(TokenClass::Input | TokenClass::InputCached | TokenClass::Output)
            | Column::Tools(_)
            | Column::UnknownCalls
            | Column::Units(_)
    )
}

impl Statement {
    /// Decimal places of every amount of the statement.
    pub(super) fn places(&self) -> u32 {
        let total = self.total.cost().into_iter();
        if total.clone().any(|total| total.whole() >= LARGE) {
            PLACES_MIN
        } else {
            scale_of(total, PLACES_MAX)
        }
    }

    fn columns(&self) -> Vec<Column> {
        let told = COLUMNS.into_iter().filter(|column| is_told(*column));
        told.filter(|column| *column == Column::Calls || self.total.of_column(*column) > 0).collect()
    }

    pub(super) fn table(&self, table: &StatementTable) -> Markup {
        let columns = self.columns();
        let currencies = self.currency.iter().chain(&self.currency_2);
        let costs: Vec<String> = currencies.map(|currency| format!("cost {currency}")).collect();
        html! {
            div.scroll role="region" aria-label=(table.caption) tabindex="0" {
                table {
                    caption { (table.caption) }
                    thead {
                        tr {
                            @for key in &table.keys { th scope="col" { (spoken(key)) } }
                            @for column in &columns { th.number scope="col" { (spoken(column.name())) } }
                            @for cost in &costs { th.number scope="col" { (cost) } }
                            th.number scope="col" { "share" }
                        }
                    }
                    tbody {
                        @for line in &table.lines { (self.line(line, &columns)) }
                        @if let Some((lines, sums)) = &table.others {
                            tr.others {
                                th scope="row" colspan=(table.keys.len()) { (lines) " others" }
                                (self.numbers(sums, &columns))
                            }
                        }
                    }
                    tfoot {
                        tr {
                            th scope="row" colspan=(table.keys.len()) { "Total" }
                            (self.numbers(&self.total, &columns))
                        }
                    }
                }
            }
        }
    }

    fn line(&self, line: &ReportLine, columns: &[Column]) -> Markup {
        html! {
            tr {
                @for (at, key) in line.keys.iter().enumerate() {
                    @if at == 0 { th scope="row" { (name(key)) } } @else { td { (name(key)) } }
                }
                (self.numbers(&line.sums, columns))
            }
        }
    }

    fn numbers(&self, sums: &ReportSums, columns: &[Column]) -> Markup {
        let (part, whole) = self.weights(sums);
        html! {
            @for column in columns { td.number { (grouped(&sums.of_column(*column).to_string())) } }
            @if self.currency.is_some() { (self.cost(sums.cost(), sums)) }
            @if self.currency_2.is_some() { (self.cost(sums.cost_2(), sums)) }
            td.number.share {
                svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                    rect width=(thousandths(part, whole)) height="10" {}
                }
                (percent(part, whole))
            }
        }
    }

    fn cost(&self, cost: Option<Amount>, sums: &ReportSums) -> Markup {
        html! {
            td.number { @match cost {
                Some(cost) => {
                    (grouped(&money(cost, self.places())))
                    @if sums.unpriced_calls > 0 { abbr title="not everything in it has a price" { "*" } }
                }
                None => abbr title="there is no price for it" { "–" }
            } }
        }
    }

    /// Returns a part and the whole that it is a share of.
    fn weights(&self, sums: &ReportSums) -> (u128, u128) {
        match self.currency {
            Some(_) => (weight(sums).0, weight(&self.total).0),
            None => (tokens(sums), tokens(&self.total)),
        }
    }
}

/// The name of a column, in words.
fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// A name, whose direction stays its own, or why there is none.
fn name(key: &KeyValue) -> Markup {
    match key {
        KeyValue::Missing(missing) => html! { span.missing { (missing.as_str()) } },
        key => html! { bdi { (key.label(names::shown)) } },
    }
}
