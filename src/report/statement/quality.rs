//! How much of the tokens is known how well.

use maud::{Markup, html};

use super::data::Statement;
use super::share::{percent, thousandths};
use crate::report::columns::Column;
use crate::report::money_text::grouped;
use metering::usage::Quality;

/// Each quality that has tokens, with what it means.
const QUALITIES: [(Quality, &str, &str); 3] = [
    (Quality::Exact, "Exact", "as the service bills it"),
    (Quality::LowerBound, "Lower bound", "not less than this"),
    (Quality::Estimated, "Estimated", "near to it"),
];

impl Statement {
    /// A bar, and the numbers in it.
    pub(super) fn quality(&self) -> Markup {
        let tokens = |quality| u128::from(self.total.of_column(Column::Of(quality)));
        let whole: u128 = QUALITIES.iter().map(|(quality, ..)| tokens(*quality)).sum();
        let mut at = 0;
        let parts = QUALITIES.map(|(quality, ..)| {
            let width = thousandths(tokens(quality), whole);
            at += width;
            (quality, at - width, width)
        });
        let calls = u128::from(self.total.of_column(Column::Calls));
        let unknown = u128::from(self.total.of_column(Column::UnknownCalls));
        html! {
            section aria-labelledby="quality" {
                h2 id="quality" { "How well it is known" }
                svg.quality viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true" {
                    @for (quality, begin, width) in parts {
                        rect class=(quality.as_str()) x=(begin) y="0" width=(width) height="24" {}
                    }
                }
                div.scroll role="region" aria-label="Tokens by how well they are known" tabindex="0" {
                    table {
                        caption { "Tokens by how well they are known" }
                        thead { tr { th scope="col" { "quality" } th scope="col" { "what it means" } th.number scope="col" { "tokens" } th.number scope="col" { "share" } } }
                        tbody {
                            @for (quality, name, meaning) in QUALITIES {
                                tr {
                                    th scope="row" { span.key.(quality.as_str()) aria-hidden="true" {} (name) }
                                    td { (meaning) }
                                    td.number { (grouped(&tokens(quality).to_string())) }
                                    td.number { (percent(tokens(quality), whole)) }
                                }
                            }
                        }
                    }
                }
                @if unknown > 0 {
                    p { "Of " (grouped(&unknown.to_string())) " of " (grouped(&calls.to_string())) " calls (" (percent(unknown, calls))
                        ") a number is not known. It adds nothing to the sums here, so they are the least that was used." }
                } @else {
                    p { "No number is unknown." }
                }
            }
        }
    }
}
