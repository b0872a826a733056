//! Rates between currencies, by a file: the cost in a second currency. [`RATES_HELP`] says how the file looks.

use std::path::Path;

use jiff::Timestamp;
use smol_str::SmolStr;
use strum::{Display, EnumString, VariantNames};

use super::amount::{Amount, RATE_PLACES};
use super::currency::Currency;
use super::decimal::decimal;
use super::table_file::{Fields, overlapping, read_table, require};
use crate::report::error::ReportError;
use metering::caller::{WrongLines, version};

/// How a file of rates looks, for `--help`.
pub const RATES_HELP: &str = "\
Rates are CSV like prices; one of base is worth so many of quote:

  from,to,base,quote,rate
  2026-09-01,2026-10-01,EUR,USD,1.0841
  2026-10-01,,EUR,USD,1.0797

base is the currency of the prices, quote the same in all lines; from is inclusive, to exclusive, empty is for ever, and \
periods must not overlap. cost_2 is what each call costs, times the rate at the call's end, exactly, and currency_2 is \
quote. A share of --ptu-cost is converted at the rate of its month's first instant. What has no rate is left out of \
cost_2, and is said.";

/// Digits before the point of a rate.
const WHOLE_DIGITS_MAX: usize = 6;

/// The rates from one currency to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    base: Currency,
    quote: Currency,
    version: SmolStr,
    /// In order of time.
    periods: Vec<Rate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rate {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// In 10^-12.
    rate: u128,
    line: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum RateColumn {
    From,
    To,
    Base,
    Quote,
    Rate,
}

impl Rates {
    /// Reads a file of rates.
    ///
    /// # Errors
    /// If it cannot be read, or lines are wrong: then with their numbers.
    pub fn read(path: &Path) -> Result<Rates, ReportError> {
        let named = |error| ReportError::File { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(named)?;
        Rates::parse(&text).map_err(|wrong| ReportError::Prices { path: path.to_owned(), wrong })
    }

    /// The currency that is converted from.
    pub(crate) fn base(&self) -> Currency {
        self.base
    }

    /// The currency that is converted to.
    pub(crate) fn quote(&self) -> Currency {
        self.quote
    }

    /// The beginning of the SHA-256 of the file, in hex.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// An amount as of then; `None`: there is no rate.
    pub(crate) fn convert(&self, amount: Amount, at: Timestamp) -> Option<Amount> {
        let begun = self.periods.partition_point(|rate| rate.from.is_none_or(|from| from <= at));
        let rate = self.periods.get(begun.checked_sub(1)?)?;
        rate.to.is_none_or(|to| at < to).then(|| amount.times(rate.rate))
    }

    fn parse(text: &str) -> Result<Rates, WrongLines> {
        let (mut pair, mut periods) = (None, Vec::new());
        let required = [RateColumn::Base, RateColumn::Quote, RateColumn::Rate];
        let allowed = RateColumn::VARIANTS.join(", ");
        read_table(
            text,
            &allowed,
            |columns| require(columns, &required),
            |fields| {
                let (read, rate) = (currencies(fields, pair), rate(fields));
                pair = Some(read?);
                periods.push(rate?);
                Some(())
            },
        )?;
        let Some((base, quote)) = pair else {
            return Err(WrongLines::one(1, "there is no rate".to_owned()));
        };
        periods.sort_by_key(|rate| rate.from);
        let lines = periods.iter().map(|rate| (rate.from, rate.to, rate.line));
        overlapping(lines).or(Rates { base, quote, version: version(text), periods })
    }
}

/// The pair of a line, which is that of the lines above.
fn currencies(
    fields: &mut Fields<'_, RateColumn>,
    above: Option<(Currency, Currency)>,
) -> Option<(Currency, Currency)> {
    let base = fields.read(RateColumn::Base, Currency::of);
    let quote = fields.read(RateColumn::Quote, Currency::of);
    let pair = (base?, quote?);
    if pair.0 == pair.1 {
        fields.wrong(format!("base and quote are both {}", pair.0));
    }
    if let Some((base, quote)) = above
        && pair != (base, quote)
    {
        fields.wrong(format!("base and quote are {} and {}, but {base} and {quote} above", pair.0, pair.1));
    }
    Some(pair)
}

fn rate(fields: &mut Fields<'_, RateColumn>) -> Option<Rate> {
    let period = fields.period(RateColumn::From, RateColumn::To);
    let rate = fields.read(RateColumn::Rate, |text| {
        let places = RATE_PLACES as usize;
        // 10^-18 to 10^-12.
        let rate = decimal(text, WHOLE_DIGITS_MAX, places).map(|rate| rate / 10_u128.pow(6));
        rate.filter(|rate| *rate > 0).ok_or_else(|| {
            format!("rate is {text}; allowed: a number such as 1.0841, above 0 and below 1000000, with up to {places} places")
        })
    });
    let ((from, to), rate) = (period?, rate?);
    Some(Rate { from, to, rate, line: fields.line })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "from,to,base,quote,rate";

    fn rates(lines: &str) -> Rates {
        Rates::parse(&format!("{HEADER}\n{lines}")).unwrap()
    }

    fn wrong(lines: &str) -> String {
        Rates::parse(&format!("{HEADER}\n{lines}")).unwrap_err().to_string()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_rate_of_the_instant_counts() {
        let rates = rates("2026-10-01,,EUR,USD,1.08\n2026-09-01,2026-09-15,EUR,USD,1.1");
        let one = Amount::of(10_u128.pow(18));
        let of = |time| rates.convert(one, at(time)).map(|amount| amount.to_string());
        assert_eq!(of("2026-08-31T23:59:59.999Z"), None);
        assert_eq!(of("2026-09-01T00:00:00Z").as_deref(), Some("1.10"));
        assert_eq!(of("2026-09-15T00:00:00Z"), None);
        assert_eq!(of("2030-01-01T00:00:00Z").as_deref(), Some("1.08"));
        assert_eq!((rates.base().code(), rates.quote().code()), ("EUR", "USD"));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed() {
        for (lines, needle) in [
            (",,EUR,USD,0", "line 2: rate is 0; allowed: a number such as 1.0841, above 0"),
            (",,EUR,USD,1.0000000000001", "with up to 12 places"),
            (",,EUR,EUR,1", "base and quote are both EUR"),
            (",,eur,USD,1", "currency is eur; allowed: a code of ISO 4217"),
            (
                ",2026-02-01,EUR,USD,1\n2026-02-01,,EUR,CHF,1",
                "line 3: base and quote are EUR and CHF, but EUR and USD above",
            ),
            (",,EUR,USD,1\n2026-02-01,,EUR,USD,2", "line 3: overlaps line 2; an empty to is for ever"),
            (
                "2026-01-01,2026-12-01,EUR,USD,1\n2026-02-01,2026-03-01,EUR,USD,2\n2026-04-01,2026-05-01,EUR,USD,2",
                "has 2 wrong lines",
            ),
            ("2026-02-01,2026-02-01,EUR,USD,1", "to is not after from"),
        ] {
            assert!(wrong(lines).contains(needle), "{lines}: {}", wrong(lines));
        }
    }

    proptest! {
        /// The sum of what is converted is what the sum is converted to, in 10^-30.
        #[test]
        fn conversion_is_exact(amounts in prop::collection::vec(0..10_u128.pow(15), 1..20), rate in 1..10_u64.pow(15)) {
            let rates = rates(&format!(",,EUR,USD,{}.{:012}", rate / 10_u64.pow(12), rate % 10_u64.pow(12)));
            let now = Timestamp::UNIX_EPOCH;
            let parts: Amount = amounts.iter().map(|amount| rates.convert(Amount::of(*amount), now).unwrap()).sum();
            let sum: u128 = amounts.iter().sum();
            prop_assert_eq!(parts, rates.convert(Amount::of(sum), now).unwrap());
            let text = parts.to_string();
            let (whole, places) = text.split_once('.').unwrap();
            let back: u128 = format!("{whole}{places:0<30}").parse().unwrap();
            prop_assert_eq!(back, sum * u128::from(rate));
        }
    }
}
