//! Bars for each day, as SVG: what costs, or tokens where nothing has a cost.

use jiff::civil::Date;
use maud::{Markup, html};

use super::data::{Statement, tokens};
use crate::report::key_value::KeyValue;
use crate::report::money_text::{grouped, money};
use crate::report::pricing::Amount;
use crate::report::sums::ReportSums;

/// The picture, in its own units.
const WIDTH: u128 = 960;
const HEIGHT: u128 = 200;

/// Bars that are told apart; of more days there is no picture.
const DAYS_MAX: usize = 400;

/// Decimal places of money.
const PLACES: u32 = 2;

/// A day's bar.
struct Bar {
    day: Date,
    /// Money in 10^-18, or tokens.
    value: u128,
    said: String,
}

impl Statement {
    /// The bars, and what they show in words; nothing where there are no days.
    pub(super) fn chart(&self) -> Markup {
        let bars = self.bars();
        let Some(largest) = bars.iter().max_by_key(|bar| bar.value).filter(|bar| bar.value > 0) else {
            return html! {};
        };
        let (Some(first), Some(last)) = (bars.first(), bars.last()) else { return html! {} };
        let what =
            self.currency.as_ref().map_or("tokens".to_owned(), |currency| format!("cost in {currency}"));
        let said = format!(
            "{} days, {} to {}. The most is {} on {}.",
            bars.len(),
            first.day,
            last.day,
            largest.said,
            largest.day
        );
        let step = WIDTH / bars.len().max(1) as u128;
        let gap = if step > 6 { step / 5 } else { u128::from(step > 2) };
        html! {
            section aria-labelledby="days" {
                h2 id="days" { "By day: " (what) }
                figure {
                    svg.days viewBox={ "0 0 " (step * bars.len() as u128) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(said) {
                        @for (at, bar) in bars.iter().enumerate() {
                            @let height = scaled(bar.value, largest.value);
                            rect x=(at as u128 * step) y=(HEIGHT - height) width=(step - gap) height=(height) {
                                title { (bar.day) ": " (bar.said) }
                            }
                        }
                    }
                    div.axis aria-hidden="true" { span { (first.day) } span { "most: " (largest.said) } span { (last.day) } }
                }
            }
        }
    }

    /// A bar for each day from the first to the last that has usage.
    fn bars(&self) -> Vec<Bar> {
        let days = self.days.iter().filter_map(|line| match line.keys.first() {
            Some(KeyValue::Day(day)) => Some((*day, line.sums)),
            _ => None,
        });
        let mut bars: Vec<Bar> = Vec::new();
        for (day, sums) in days {
            while let Some(next) =
                bars.last().and_then(|bar| bar.day.tomorrow().ok()).filter(|next| *next < day)
            {
                if bars.len() > DAYS_MAX {
                    return Vec::new();
                }
                bars.push(self.bar(next, &ReportSums::default()));
            }
            bars.push(self.bar(day, &sums));
        }
        if bars.len() > DAYS_MAX { Vec::new() } else { bars }
    }

    fn bar(&self, day: Date, sums: &ReportSums) -> Bar {
        let (value, said) = match &self.currency {
            Some(currency) => match sums.cost() {
                Some(cost) => (cost.whole(), format!("{} {currency}", grouped(&money(cost, PLACES)))),
                None => (Amount::default().whole(), "no price".to_owned()),
            },
            None => (tokens(sums), format!("{} tokens", grouped(&tokens(sums).to_string()))),
        };
        Bar { day, value, said }
    }
}

/// The height of a bar; what is more than nothing is seen.
fn scaled(value: u128, largest: u128) -> u128 {
    let height = value.saturating_mul(HEIGHT).checked_div(largest).unwrap_or(0);
    height.max(u128::from(value > 0))
}
