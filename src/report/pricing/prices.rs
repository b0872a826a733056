//! The cost of tokens, by a file of prices. [`PRICES_HELP`] says how the file looks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use jiff::Timestamp;
use strum::{Display, EnumString, VariantNames};

use super::amount::{Amount, PLACES};
use crate::report::error::ReportError;
use crate::report::instant::parse_time;
use metering::caller::{WrongLines, records};
use metering::names;

/// How a file of prices looks, for `--help`.
pub const PRICES_HELP: &str = "\
Prices are CSV with a header; empty lines and lines that begin with # are left out:

  model,deployment,from,to,input,input_cached,output,per_tokens,currency
  gpt-4o-2024-11-20,,,,2.50,1.25,10.00,1000000,USD
  gpt-4o-*,batch,2026-01-01,,1.25,,5.00,1000000,USD

  model         a name, the beginning of one and *, or * for any
  deployment    empty for any
  from, to      a UTC day or instant, to exclusive; empty for ever
  input, output the price of per_tokens tokens (a power of ten; empty: 1000000)
  input_cached  of input that the service read from its cache; empty: as input
  currency      the same in all lines

Only model, input, output and currency must be there. Of several lines that fit, one with a deployment goes before \
one without, then the longer model, then the later from. Calls without a price are counted in unpriced_calls, their \
models named on standard error, and the total says that it is incomplete. Unknown numbers cost nothing; \
unknown_calls counts them. Nothing is rounded.";

/// Digits before the point of a price: below a million, so that 10^14 tokens fit.
const WHOLE_DIGITS_MAX: usize = 6;

const PER_TOKENS: &str = "1000000";

/// Every price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    currency: String,
    rows: Vec<Price>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Price {
    model: Pattern,
    deployment: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    input: u128,
    input_cached: u128,
    output: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Prefix(String),
    Exact(String),
}

/// The tokens of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::report) struct Used {
    pub(in crate::report) input: u64,
    /// Part of `input`.
    pub(in crate::report) input_cached: u64,
    pub(in crate::report) output: u64,
}

impl Prices {
    /// Reads a file of prices.
    ///
    /// # Errors
    /// If it cannot be read, or lines are wrong: then with their numbers.
    pub fn read(path: &Path) -> Result<Prices, ReportError> {
        let named = |error| ReportError::File { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(named)?;
        Prices::parse(&text).map_err(|wrong| ReportError::Prices { path: PathBuf::from(path), wrong })
    }

    /// The currency of all prices.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    fn parse(text: &str) -> Result<Prices, WrongLines> {
        let mut records = records(text);
        let one = |(line, problem)| WrongLines::one(line, problem);
        let (line, header) = records.next().unwrap_or_else(|| Ok((1, StringRecord::new()))).map_err(one)?;
        let columns = columns(&header).map_err(|problem| WrongLines::one(line, problem))?;
        let mut prices = Prices { currency: String::new(), rows: Vec::new() };
        let (mut wrong, mut lines) = (WrongLines::default(), Vec::new());
        for record in records {
            let read = record.and_then(|(line, record)| {
                let row = PriceLine { record: &record, columns: &columns };
                let added = row.whole(&header).and_then(|()| prices.add(&row, &lines));
                added.map(|()| line).map_err(|problem| (line, problem))
            });
            match read {
                Ok(line) => lines.push(line),
                Err((line, problem)) => wrong.add(line, problem),
            }
        }
        if prices.rows.is_empty() && wrong.is_empty() {
            wrong.add(1, "there is no price below the header".to_owned());
        }
        wrong.or(prices)
    }

    /// Adds one line; `lines` are the numbers of those that are there.
    fn add(&mut self, row: &PriceLine<'_>, lines: &[u64]) -> Result<(), String> {
        let price = row.price()?;
        let currency = row.required(PriceColumn::Currency)?;
        if self.currency.is_empty() {
            currency.clone_into(&mut self.currency);
        } else if self.currency != currency {
            return Err(format!(
                "currency is {currency}, but {} above: one file, one currency",
                self.currency
            ));
        }
        let same = |other: &Price| {
            (&other.model, &other.deployment, other.from) == (&price.model, &price.deployment, price.from)
        };
        if let Some(other) = self.rows.iter().position(same) {
            let other = lines.get(other).copied().unwrap_or_default();
            return Err(format!("has the model, the deployment and the from of line {other}"));
        }
        self.rows.push(price);
        Ok(())
    }

    /// The cost of a call; `None` if there is no price for it.
    pub(in crate::report) fn cost(
        &self,
        model: &str,
        deployment: &str,
        time: Timestamp,
        used: Used,
    ) -> Option<Amount> {
        let fitting = self.rows.iter().filter(|price| price.fits(model, deployment, time));
        let price =
            fitting.max_by_key(|price| (price.deployment.is_some(), price.model.length(), price.from))?;
        let cached = used.input_cached.min(used.input);
        let parts =
            [(used.input - cached, price.input), (cached, price.input_cached), (used.output, price.output)];
        // 10^14 tokens at a price of a million each still fit.
        let sum = parts.iter().fold(0_u128, |sum, (tokens, unit)| {
            sum.saturating_add(u128::from(*tokens).saturating_mul(*unit))
        });
        Some(Amount(sum))
    }
}

impl Price {
    fn fits(&self, model: &str, deployment: &str, time: Timestamp) -> bool {
        self.model.fits(model)
            && self.deployment.as_deref().is_none_or(|wanted| wanted == deployment)
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
    }
}

impl Pattern {
    fn fits(&self, model: &str) -> bool {
        match self {
            Pattern::Prefix(begin) => model.starts_with(begin),
            Pattern::Exact(name) => model == name,
        }
    }

    /// How much of a model it names; a whole name is more than any beginning.
    fn length(&self) -> (bool, usize) {
        match self {
            Pattern::Prefix(begin) => (false, begin.len()),
            Pattern::Exact(name) => (true, name.len()),
        }
    }
}

/// The columns of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum PriceColumn {
    Model,
    Deployment,
    From,
    To,
    Input,
    InputCached,
    Output,
    PerTokens,
    Currency,
}

const REQUIRED: [PriceColumn; 4] =
    [PriceColumn::Model, PriceColumn::Input, PriceColumn::Output, PriceColumn::Currency];

fn columns(header: &StringRecord) -> Result<BTreeMap<PriceColumn, usize>, String> {
    let mut columns = BTreeMap::new();
    for (at, name) in header.iter().enumerate() {
        let Ok(column) = name.parse() else {
            return Err(format!("`{name}` is no column; allowed: {}", PriceColumn::VARIANTS.join(", ")));
        };
        if columns.insert(column, at).is_some() {
            return Err(format!("there are two columns `{name}`"));
        }
    }
    match REQUIRED.into_iter().find(|column| !columns.contains_key(column)) {
        Some(column) => Err(format!("there is no column `{column}`; the first line names the columns")),
        None => Ok(columns),
    }
}

/// One line of the file.
struct PriceLine<'a> {
    record: &'a StringRecord,
    columns: &'a BTreeMap<PriceColumn, usize>,
}

impl<'a> PriceLine<'a> {
    /// There is a field for each column.
    fn whole(&self, header: &StringRecord) -> Result<(), String> {
        match (self.record.len(), header.len()) {
            (has, wanted) if has == wanted => Ok(()),
            (1, wanted) => Err(format!("has 1 field, the header has {wanted}")),
            (has, wanted) => Err(format!("has {has} fields, the header has {wanted}")),
        }
    }

    fn get(&self, column: PriceColumn) -> Option<&'a str> {
        let text = self.record.get(*self.columns.get(&column)?)?;
        (!text.is_empty()).then_some(text)
    }

    fn required(&self, column: PriceColumn) -> Result<&'a str, String> {
        self.get(column).ok_or_else(|| format!("{column} is empty"))
    }

    fn price(&self) -> Result<Price, String> {
        let model = self.required(PriceColumn::Model)?;
        let model = match model.strip_suffix('*') {
            Some(begin) => Pattern::Prefix(begin.to_owned()),
            None => Pattern::Exact(model.to_owned()),
        };
        let (from, to) = (self.time(PriceColumn::From)?, self.time(PriceColumn::To)?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err("to is not after from".to_owned());
        }
        let per = self.get(PriceColumn::PerTokens).unwrap_or(PER_TOKENS);
        let zeros =
            per.strip_prefix('1').filter(|zeros| zeros.len() <= 9 && zeros.bytes().all(|b| b == b'0'));
        let Some(zeros) = zeros else {
            return Err(format!("per_tokens is {per}; allowed: 1, 10, 100 and so on up to 1000000000"));
        };
        let unit = |column: PriceColumn, text: &str| {
            unit(text, zeros.len()).ok_or_else(|| {
                let places = PLACES as usize - zeros.len();
                format!("{column} is {text}; allowed: a number such as 2.50, below 1000000, with up to {places} places")
            })
        };
        let required = |column| unit(column, self.required(column)?);
        let input = required(PriceColumn::Input)?;
        let cached = self.get(PriceColumn::InputCached);
        Ok(Price {
            model,
            deployment: self.get(PriceColumn::Deployment).map(str::to_owned),
            from,
            to,
            input,
            input_cached: cached.map_or(Ok(input), |text| unit(PriceColumn::InputCached, text))?,
            output: required(PriceColumn::Output)?,
        })
    }

    fn time(&self, column: PriceColumn) -> Result<Option<Timestamp>, String> {
        self.get(column)
            .map(|text| parse_time(text).map_err(|error| format!("{column}: {error}")))
            .transpose()
    }
}

/// The price of one token, in 10^-18, from that of `10^zeros` of them.
fn unit(text: &str, zeros: usize) -> Option<u128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = (PLACES as usize).checked_sub(zeros + places.len())?;
    let fits = !whole.is_empty() && whole.len() <= WHOLE_DIGITS_MAX && digits(whole) && digits(places);
    let mantissa: u128 = fits.then(|| format!("{whole}{places}").parse().ok()).flatten()?;
    Some(mantissa * 10_u128.pow(u32::try_from(rest).ok()?))
}

/// The models without a price, most calls first, for people; `None` if every call has one.
pub(in crate::report) fn unpriced_text(unpriced: &BTreeMap<String, u64>) -> Option<String> {
    const NAMED_MAX: usize = 10;
    let mut models: Vec<(&String, &u64)> = unpriced.iter().collect();
    models.sort_by_key(|(_, calls)| Reverse(**calls));
    let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let of =
        |(model, calls): &(&String, &u64)| format!("{} ({})", names::shown(model), plural(**calls, "call"));
    let named: Vec<String> = models.iter().take(NAMED_MAX).map(of).collect();
    let more = models.len().saturating_sub(NAMED_MAX) as u64;
    let more = if more > 0 { format!(" and {}", plural(more, "more model")) } else { String::new() };
    (!models.is_empty()).then(|| format!("no price for {}{more}: the total is incomplete", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "model,deployment,from,to,input,input_cached,output,per_tokens,currency";

    fn prices(lines: &str) -> Prices {
        Prices::parse(&format!("{HEADER}\n{lines}")).unwrap()
    }

    fn used(input: u64, input_cached: u64, output: u64) -> Used {
        Used { input, input_cached, output }
    }

    fn cost(prices: &Prices, model: &str, deployment: &str, day: &str, used: Used) -> Option<String> {
        prices.cost(model, deployment, parse_time(day).unwrap(), used).map(|cost| cost.to_string())
    }

    #[test]
    fn cached_input_is_a_part_of_input_and_has_its_own_price() {
        let prices = prices("m,,,,2.50,1.25,10.00,1000000,USD\nn,,,,3,,1,1000,USD");
        let of = |model, used| cost(&prices, model, "d", "2026-11-22", used).unwrap();
        assert_eq!(of("m", used(1_000_000, 400_000, 0)), "2.00");
        assert_eq!(of("m", used(1, 0, 1)), "0.0000125");
        assert_eq!(of("m", used(1, 5, 0)), "0.00000125", "never more than there is");
        assert_eq!(of("n", used(1_000, 500, 1_000)), "4.00", "no price of its own: as input");
        assert_eq!(of("m", used(0, 0, 0)), "0.00");
        assert_eq!(prices.currency(), "USD");
    }

    #[test]
    fn the_most_specific_line_wins() {
        let prices = prices(
            "*,,,,1,,0,1,EUR\n gpt-*,,,,2,,0,1,EUR\ngpt-4o-*,,,,3,,0,1,EUR\n# a comment\ngpt-4o-mini,,,,4,,0,1,EUR\n\
             *,batch,,,5,,0,1,EUR\ngpt-4o-mini,,2026-06-01,,6,,0,1,EUR\ngpt-5,,2026-01-01,2026-02-01,7,,0,1,EUR",
        );
        let of = |model, deployment, day| cost(&prices, model, deployment, day, used(1, 0, 0)).unwrap();
        assert_eq!(of("o3", "d", "2026-01-01"), "1.00");
        assert_eq!(of("gpt-3.5", "d", "2026-01-01"), "2.00");
        assert_eq!(of("gpt-4o-2024-11-20", "d", "2026-01-01"), "3.00");
        assert_eq!(of("gpt-4o-mini", "d", "2026-05-31"), "4.00");
        assert_eq!(of("gpt-4o-mini", "batch", "2026-05-31"), "5.00");
        assert_eq!(of("gpt-4o-mini", "d", "2026-06-01"), "6.00");
        assert_eq!(of("gpt-5", "d", "2026-01-31"), "7.00");
        assert_eq!(of("gpt-5", "d", "2026-02-01"), "2.00");
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number_and_what_is_allowed() {
        for (lines, line, needle) in [
            ("m,,,,x,,1,,USD", 2, "input is x; allowed"),
            ("m,,,,1,,1,,USD\nn,,,,-1,,1,,USD", 3, "input is -1"),
            ("m,,,,1,,1e3,,USD", 2, "output is 1e3"),
            ("m,,,,1,,1,500,USD", 2, "per_tokens is 500; allowed"),
            ("m,,,,0.0000000000001,,1,,USD", 2, "12 places"),
            ("m,,,,1,,1,,USD\nn,,,,1,,1,,EUR", 3, "one currency"),
            ("m,,,,1,,1,,USD\nm,,,,2,,1,,USD", 3, "line 2"),
            ("m,,2026-02-30,,1,,1,,USD", 2, "from: "),
            ("m,,2026-02-02,2026-02-02,1,,1,,USD", 2, "to is not after from"),
            (",,,,1,,1,,USD", 2, "model is empty"),
            ("# a comment\n\nm,,,,x,,1,,USD", 4, "input is x"),
            ("m,,,,1,,1,", 2, "8 fields, the header has 9"),
            ("", 1, "no price"),
        ] {
            let wrong = Prices::parse(&format!("{HEADER}\n{lines}")).unwrap_err().to_string();
            assert!(
                wrong.starts_with(&format!("line {line}: ")) && wrong.contains(needle),
                "{lines}: {wrong}"
            );
        }
        let wrong = |text: &str| Prices::parse(text).unwrap_err().to_string();
        assert!(wrong("model,input,output\nm,1,1").contains("no column `currency`"));
        assert!(wrong("model,price").contains("`price` is no column"));
        assert_eq!(
            wrong(&format!("{HEADER}\nm,,,,x,,1,,USD\nn,,,,1,,1,,USD\no\np,,,,1,,1,,EUR\n")),
            "has 3 wrong lines:\n\
             line 2: input is x; allowed: a number such as 2.50, below 1000000, with up to 12 places\n\
             line 4: has 1 field, the header has 9\n\
             line 5: currency is EUR, but USD above: one file, one currency"
        );
        assert!(Prices::parse("model,input,output,currency\nm,1,1,USD").is_ok());
    }

    proptest! {
        /// The sum of the parts is the price of the sum: nothing is rounded anywhere.
        #[test]
        fn amounts_are_exact(calls in prop::collection::vec((0..1_000_000_u64, 0..1_000_000_u64), 1..50), micros in 0..999_999_999_u64) {
            let price = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            let prices = prices(&format!("m,,,,{price},,{price},1000000,USD"));
            let mut sum = Amount::default();
            for (input, output) in &calls {
                sum.add(prices.cost("m", "", Timestamp::UNIX_EPOCH, used(*input, 0, *output)).unwrap());
            }
            let tokens: u64 = calls.iter().map(|(input, output)| input + output).sum();
            prop_assert_eq!(sum.0, u128::from(tokens) * u128::from(micros) * 1_000_000);
            let text = sum.to_string();
            let (whole, places) = text.split_once('.').unwrap();
            let back: u128 = format!("{whole}{places:0<18}").parse().unwrap();
            prop_assert_eq!(back, sum.0);
        }
    }
}
