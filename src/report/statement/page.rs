//! The page of a statement.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::{Statement, StatementTable, tokens};
use crate::report::columns::Column;
use crate::report::money_text::{grouped, money};
use crate::report::pricing::Amount;
use metering::names;

/// The looks of the page.
const STYLE: &str = include_str!("style.css");

/// Days that have a table of their own below the bars.
const DAY_LINES_MAX: usize = 62;

impl Statement {
    /// The page: a document that needs nothing else.
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy());
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content=(concat!("tokenweir ", env!("CARGO_PKG_VERSION")));
                    title { (self.heading()) ", " (self.span_text()) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { h1 { (self.heading()) } p.span { (self.span_text()) } }
                    main {
                        (self.summary())
                        (self.completeness())
                        (self.notes())
                        (self.chart())
                        section aria-labelledby="usage" {
                            h2 id="usage" { "Who used what" }
                            @for table in self.tables.iter().chain(&self.day_table()) { (self.table(table)) }
                            @if self.currency.is_some() {
                                p.small { "Amounts are shown with " (self.places()) " decimal places, each rounded by itself; the CSV and Parquet forms of the same report have every digit." }
                            }
                        }
                        (self.quality())
                        (self.facts())
                    }
                    footer { p { "Written by tokenweir " (env!("CARGO_PKG_VERSION")) ". Each call counts once, by the ledger and the id of its event." } }
                }
            }
        };
        page.into_string() + "\n"
    }

    fn heading(&self) -> String {
        names::shown(&self.title).into_owned()
    }

    /// Each currency with the whole cost in it.
    fn costs(&self) -> impl Iterator<Item = (&String, Option<Amount>)> {
        let first = self.currency.iter().map(|currency| (currency, self.total.cost()));
        first.chain(self.currency_2.iter().map(|currency| (currency, self.total.cost_2())))
    }

    /// The sums that a reader looks for first.
    fn summary(&self) -> Markup {
        let number = |column| grouped(&self.total.of_column(column).to_string());
        html! {
            dl.summary {
                @for (currency, cost) in self.costs() {
                    div { dt { "Cost" } dd { @match cost {
                        Some(cost) => { (grouped(&money(cost, self.places()))) " " span.unit { (names::shown(currency)) } }
                        None => "no price"
                    } } }
                }
                div { dt { "Calls" } dd { (number(Column::Calls)) } }
                div { dt { "Tokens" } dd { (grouped(&tokens(&self.total).to_string())) } }
                (self.complete_or_not())
                @if self.total.unpriced_calls > 0 {
                    div.wrong { dt { "Calls without a price" } dd { (grouped(&self.total.unpriced_calls.to_string())) } }
                }
            }
        }
    }

    /// A sentence for each thing that a reader has to know.
    fn notes(&self) -> Markup {
        html! {
            @if !self.notes.is_empty() {
                section.notes aria-labelledby="notes" {
                    h2 id="notes" { "To be known" }
                    ul { @for note in &self.notes { li.wrong { (names::shown(note)) } } }
                }
            }
        }
    }

    /// The days as numbers, for who cannot see the bars.
    fn day_table(&self) -> Option<StatementTable> {
        let is_short = (1..=DAY_LINES_MAX).contains(&self.days.len());
        is_short.then(|| StatementTable {
            caption: "By day".to_owned(),
            keys: vec!["day".to_owned()],
            lines: self.days.clone(),
            others: None,
        })
    }

    fn facts(&self) -> Markup {
        html! {
            @if !self.facts.is_empty() {
                section aria-labelledby="facts" {
                    h2 id="facts" { "Where it comes from" }
                    dl.facts { @for (name, fact) in &self.facts { div { dt { (name) } dd { (names::shown(fact)) } } } }
                }
            }
        }
    }
}

/// The page may do nothing but look as it does.
fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        STANDARD.encode(digest)
    )
}
