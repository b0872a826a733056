//! A file says what provisioned throughput costs by the month. [`PTU_HELP`] says how the file looks.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use smol_str::SmolStr;
use strum::VariantArray;

use super::billed_parts::PriceClass;
use super::currency::Currency;
use super::decimal::decimal;
use super::table_file::{Columns, Fields, read_table, require};
use crate::report::error::ReportError;
use crate::report::instant::parse_time;
use metering::caller::{WrongLines, version};
use metering::usage::TokenClass;

/// How a file of fixed costs looks, for `--help`.
pub const PTU_HELP: &str = "\
Fixed costs are CSV like prices, a line for each deployment and UTC month:

  deployment,month,cost,currency,ptus,tpm_per_ptu,weight_input_cached,weight_output
  gpt-4.1-ptu,2026-09,26280.00,EUR,50,3000,0,4

  cost          what the month costs, to the minor unit of its currency
  resource      the upstream, where two have deployments of one name
  weight_input, weight_input_cached, weight_output
                what a token weighs; empty: 1, and cached input as other input. Or of a
                class, such as weight_output_audio
  ptus, tpm_per_ptu
                the units bought, and the weighted tokens per minute of one. Or
                capacity_tokens, the weighted tokens that the month could have had

A month's cost is shared by the weighted tokens of its calls, to the minor unit, first among the callers and then among \
the rows of each caller, each time by largest remainder: the rows add up to the cost, and a caller's rows to the same sum \
whatever the keys are. What capacity is left over, or the whole cost where nobody called, stands in a row named (idle). \
Tokens of such a deployment have no other price; units and tokens of tools keep theirs.";

/// A weight has so many digits before the point, and places behind it.
const WEIGHT_DIGITS_MAX: usize = 4;
const WEIGHT_PLACES: u32 = 6;
/// A weight of 1.
const WEIGHT_ONE: u64 = 10_u64.pow(WEIGHT_PLACES);

/// A month of a deployment costs less than a billion.
const COST_DIGITS_MAX: usize = 9;

/// Fixed costs of deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PtuCosts {
    currency: Currency,
    version: SmolStr,
    months: Vec<PtuMonth>,
    /// Places in `months`.
    by_deployment: HashMap<SmolStr, Vec<usize>>,
}

/// The fixed cost of one deployment in one month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PtuMonth {
    pub(crate) deployment: SmolStr,
    pub(crate) resource: Option<SmolStr>,
    /// `2026-09`
    pub(crate) month: SmolStr,
    /// The month's first instant, and that of the next.
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
    /// In minor units.
    pub(crate) cost: u128,
    /// In millionths of a token.
    pub(super) capacity: Option<u128>,
    weights: HashMap<PriceClass, u64>,
    line: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PtuColumn {
    Deployment,
    Resource,
    Month,
    Cost,
    Currency,
    CapacityTokens,
    Ptus,
    TpmPerPtu,
    /// Of a class, or of everything that is text or like it.
    Weight(Weighed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weighed {
    Class(PriceClass),
    Text(PriceClass),
}

/// The columns that are no weights, by their names.
const COLUMNS: [(PtuColumn, &str); 8] = [
    (PtuColumn::Deployment, "deployment"),
    (PtuColumn::Resource, "resource"),
    (PtuColumn::Month, "month"),
    (PtuColumn::Cost, "cost"),
    (PtuColumn::Currency, "currency"),
    (PtuColumn::CapacityTokens, "capacity_tokens"),
    (PtuColumn::Ptus, "ptus"),
    (PtuColumn::TpmPerPtu, "tpm_per_ptu"),
];

/// Before the name of what is weighed.
const WEIGHT: &str = "weight_";

impl Weighed {
    /// The weights of the wide form, each with the class of text that it is of.
    const TEXTS: [(TokenClass, PriceClass); 3] = [
        (TokenClass::Input, PriceClass::InputUncached),
        (TokenClass::InputCached, PriceClass::InputCached),
        (TokenClass::Output, PriceClass::OutputText),
    ];

    fn of(word: &str) -> Option<Weighed> {
        if let Some((_, class)) = Weighed::TEXTS.iter().find(|(text, _)| text.as_str() == word) {
            return Some(Weighed::Text(*class));
        }
        word.parse().ok().filter(|class: &PriceClass| class.is_token()).map(Weighed::Class)
    }
}

impl FromStr for PtuColumn {
    type Err = ();

    fn from_str(name: &str) -> Result<PtuColumn, ()> {
        let fixed = COLUMNS.iter().find(|(_, known)| *known == name).map(|(column, _)| *column);
        let weight = || name.strip_prefix(WEIGHT).and_then(Weighed::of).map(PtuColumn::Weight);
        fixed.or_else(weight).ok_or(())
    }
}

impl fmt::Display for PtuColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PtuColumn::Weight(Weighed::Class(class)) => write!(f, "{WEIGHT}{}", class.as_str()),
            PtuColumn::Weight(Weighed::Text(class)) => {
                let text = Weighed::TEXTS.iter().find(|(_, of)| of == class);
                write!(f, "{WEIGHT}{}", text.map_or("", |(text, _)| text.as_str()))
            }
            fixed => {
                f.write_str(COLUMNS.iter().find(|(column, _)| column == fixed).map_or("", |(_, name)| name))
            }
        }
    }
}

impl PtuCosts {
    /// Reads a file of fixed costs.
    ///
    /// # Errors
    /// If it cannot be read, or lines are wrong: then with their numbers.
    pub fn read(path: &Path) -> Result<PtuCosts, ReportError> {
        let named = |error| ReportError::File { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(named)?;
        PtuCosts::parse(&text).map_err(|wrong| ReportError::Prices { path: path.to_owned(), wrong })
    }

    /// The currency of all costs.
    pub(crate) fn currency(&self) -> Currency {
        self.currency
    }

    /// The beginning of the SHA-256 of the file, in hex.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every month of every deployment, in the order of the file.
    pub(crate) fn months(&self) -> &[PtuMonth] {
        &self.months
    }

    /// The place in `months` of a deployment then; one that names the resource goes before.
    pub(super) fn find(&self, deployment: &str, resource: &str, at: Timestamp) -> Option<usize> {
        let places = self.by_deployment.get(deployment)?.iter().copied();
        let fitting = places.filter_map(|place| Some((self.months.get(place)?, place)));
        let fitting = fitting.filter(|(month, _)| {
            month.begin <= at
                && at < month.end
                && month.resource.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(resource))
        });
        fitting.max_by_key(|(month, _)| month.resource.is_some()).map(|(_, place)| place)
    }

    pub(super) fn parse(text: &str) -> Result<PtuCosts, WrongLines> {
        let (mut currency, mut months) = (None, Vec::<PtuMonth>::new());
        read_table(text, &allowed(), check, |fields| {
            let month = month_of(fields, &mut currency);
            let month = month?;
            let same = |other: &&PtuMonth| {
                (&other.deployment, &other.resource, &other.month)
                    == (&month.deployment, &month.resource, &month.month)
            };
            if let Some(other) = months.iter().find(same) {
                fields.wrong(format!("has the deployment and the month of line {}", other.line));
                return None;
            }
            months.push(month);
            Some(())
        })?;
        let currency = currency.ok_or_else(|| WrongLines::one(1, "there is no cost".to_owned()))?;
        let mut by_deployment: HashMap<SmolStr, Vec<usize>> = HashMap::new();
        for (place, month) in months.iter().enumerate() {
            by_deployment.entry(month.deployment.clone()).or_default().push(place);
        }
        Ok(PtuCosts { currency, version: version(text), months, by_deployment })
    }
}

/// The columns' names, for people.
fn allowed() -> String {
    let fixed = COLUMNS.iter().map(|(_, name)| (*name).to_owned());
    let texts = Weighed::TEXTS.iter().map(|(text, _)| format!("{WEIGHT}{}", text.as_str()));
    fixed.chain(texts).chain([format!("{WEIGHT} and a class of tokens")]).collect::<Vec<_>>().join(", ")
}

fn check(columns: &Columns<PtuColumn>) -> Result<(), String> {
    require(columns, &[PtuColumn::Deployment, PtuColumn::Month, PtuColumn::Cost, PtuColumn::Currency])
}

fn month_of(fields: &mut Fields<'_, PtuColumn>, above: &mut Option<Currency>) -> Option<PtuMonth> {
    let deployment = fields.required(PtuColumn::Deployment);
    let month = fields.read(PtuColumn::Month, month_ends);
    let currency = fields.read(PtuColumn::Currency, Currency::of);
    if let (Some(currency), Some(first)) = (currency, *above)
        && currency != first
    {
        fields.wrong(format!("currency is {currency}, but {first} above: one file, one currency"));
    }
    let places = currency.map_or(2, |currency| currency.minor_places);
    let cost = fields.read(PtuColumn::Cost, |text| {
        let cost = whole(text, COST_DIGITS_MAX, places);
        cost.ok_or_else(|| {
            format!("cost is {text}; allowed: a number such as 26280.00, below a billion, with up to {places} places")
        })
    });
    let capacity = month.and_then(|(begin, end)| capacity(fields, begin, end));
    let weights = weights(fields);
    let ((begin, end), deployment) = (month?, deployment?);
    let month = fields.text(PtuColumn::Month)?;
    above.get_or_insert(currency?);
    Some(PtuMonth {
        deployment: deployment.into(),
        resource: fields.text(PtuColumn::Resource),
        month,
        begin,
        end,
        cost: cost?,
        capacity: capacity?,
        weights: weights?,
        line: fields.line,
    })
}

/// The first instant of a UTC month, and that of the next.
fn month_ends(text: &str) -> Result<(Timestamp, Timestamp), String> {
    let wrong = || format!("month is {text}; allowed: a month such as 2026-11");
    let (year, number) = text.split_once('-').ok_or_else(wrong)?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if year.len() != 4 || number.len() != 2 || !digits(year) || !digits(number) {
        return Err(wrong());
    }
    let (year, number): (u16, u16) =
        (year.parse().map_err(|_| wrong())?, number.parse().map_err(|_| wrong())?);
    let (next_year, next) = if number == 12 { (year + 1, 1) } else { (year, number + 1) };
    let first = |year: u16, month: u16| parse_time(&format!("{year:04}-{month:02}-01")).map_err(|_| wrong());
    Ok((first(year, number)?, first(next_year, next)?))
}

/// A decimal number as a whole number of its smallest place.
fn whole(text: &str, digits_max: usize, places: u32) -> Option<u128> {
    let number = decimal(text, digits_max, places as usize)?;
    Some(number / 10_u128.pow(super::amount::PLACES.saturating_sub(places)))
}

/// The weighted tokens that a month could have had, in millionths; `Some(None)`: the line does not say.
fn capacity(fields: &mut Fields<'_, PtuColumn>, begin: Timestamp, end: Timestamp) -> Option<Option<u128>> {
    const DIGITS_MAX: usize = 15;
    let minutes = u128::try_from((end.as_second() - begin.as_second()) / 60).unwrap_or_default();
    let mut number = |column: PtuColumn| {
        let number = fields.get(column).map(|text| {
            let number = whole(text, DIGITS_MAX, 0);
            number.ok_or_else(|| {
                format!("{column} is {text}; allowed: a whole number of up to {DIGITS_MAX} digits")
            })
        });
        fields.take(number.transpose())
    };
    let tokens = number(PtuColumn::CapacityTokens);
    let (ptus, each) = (number(PtuColumn::Ptus), number(PtuColumn::TpmPerPtu));
    let millionths = |tokens: u128| tokens.saturating_mul(u128::from(WEIGHT_ONE));
    match (tokens?, ptus?, each?) {
        (None, None, None) => Some(None),
        (Some(tokens), None, None) => Some(Some(millionths(tokens))),
        (None, Some(ptus), Some(each)) => {
            Some(Some(millionths(ptus.saturating_mul(each).saturating_mul(minutes))))
        }
        _ => {
            fields.wrong("give capacity_tokens, or ptus and tpm_per_ptu, or none of them".to_owned());
            None
        }
    }
}

/// Reads what a token of each class weighs, in millionths.
fn weights(fields: &mut Fields<'_, PtuColumn>) -> Option<HashMap<PriceClass, u64>> {
    let mut is_right = true;
    let mut given = |of: Weighed| {
        let column = PtuColumn::Weight(of);
        let text = fields.get(column)?;
        let weight =
            whole(text, WEIGHT_DIGITS_MAX, WEIGHT_PLACES).and_then(|weight| u64::try_from(weight).ok());
        let weight = fields.take(weight.ok_or_else(|| {
            format!("{column} is {text}; allowed: a number such as 4, below 10000, with up to {WEIGHT_PLACES} places")
        }));
        is_right &= weight.is_some();
        weight
    };
    let mut weights = HashMap::new();
    for class in PriceClass::VARIANTS.iter().filter(|class| class.is_token()) {
        let text = class.text().unwrap_or(*class);
        let whole = class.part_of().into_iter().map(Weighed::Class);
        // Input from the cache weighs as other input, where nobody says otherwise.
        let input = (text == PriceClass::InputCached).then_some(Weighed::Text(PriceClass::InputUncached));
        let closest_first =
            [Weighed::Class(*class)].into_iter().chain(whole).chain([Weighed::Text(text)]).chain(input);
        let weight = closest_first.filter_map(&mut given).next().unwrap_or(WEIGHT_ONE);
        weights.insert(*class, weight);
    }
    is_right.then_some(weights)
}

impl PtuMonth {
    /// The weight of so many tokens, in millionths of a token; `None`: they are units.
    pub(super) fn weight(&self, class: PriceClass, quantity: u64) -> Option<u128> {
        let weight = self.weights.get(&class)?;
        Some(u128::from(quantity) * u128::from(*weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(text: &str) -> PtuCosts {
        PtuCosts::parse(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_of_utc_and_a_named_resource_goes_before() {
        let costs = costs(
            "deployment,month,cost,currency,resource\nd,2026-12,1.50,EUR,\nd,2026-12,2,EUR,r.example\ne,2027-01,3.00,EUR,",
        );
        let of = |deployment, resource, time| {
            costs.find(deployment, resource, at(time)).map(|place| costs.months()[place].cost)
        };
        assert_eq!(of("d", "x", "2026-12-01T00:00:00Z"), Some(150));
        assert_eq!(of("d", "R.example", "2026-12-31T23:59:59.999Z"), Some(200));
        assert_eq!(of("d", "x", "2027-01-01T00:00:00Z"), None);
        assert_eq!(of("d", "x", "2026-11-30T23:59:59.999Z"), None);
        assert_eq!(of("e", "", "2027-01-01T00:00:00Z"), Some(300));
    }

    #[test]
    fn a_class_weighs_what_its_closest_column_says() {
        use PriceClass as P;
        let of = |columns: &str, weights: &str, class| {
            let text = format!("deployment,month,cost,currency{columns}\nd,2026-09,1,EUR{weights}");
            costs(&text).months()[0].weight(class, 2)
        };
        assert_eq!(of("", "", P::OutputText), Some(2_000_000));
        assert_eq!(of("", "", P::Images), None, "units have no share");
        let columns =
            ",weight_input,weight_input_cached,weight_output,weight_output_audio,weight_input_cache_write";
        for (class, weight) in [
            (P::InputUncached, 3),
            (P::InputAudio, 3),
            (P::InputCached, 0),
            (P::InputCachedAudio, 0),
            (P::InputCacheWriteLong, 7),
            (P::OutputText, 8),
            (P::OutputImage, 8),
            (P::OutputAudio, 10),
        ] {
            assert_eq!(of(columns, ",1.5,0,4,5,3.5", class), Some(weight * 1_000_000), "{class:?}");
        }
        assert_eq!(
            of(columns, ",1.5,,4,5,", P::InputCached),
            Some(3_000_000),
            "cached weighs as other input"
        );
    }

    #[test]
    fn capacity_is_told_or_computed_from_units() {
        let of = |tokens: &str| {
            let text = format!(
                "deployment,month,cost,currency,capacity_tokens,ptus,tpm_per_ptu\nd,2026-02,1,EUR,{tokens}"
            );
            PtuCosts::parse(&text).map(|costs| costs.months()[0].capacity).map_err(|wrong| wrong.to_string())
        };
        assert_eq!(of(",,"), Ok(None));
        assert_eq!(of("7,,"), Ok(Some(7_000_000)));
        assert_eq!(of(",50,2500"), Ok(Some(50 * 2500 * 28 * 24 * 60 * 1_000_000)));
        for wrong in ["7,50,2500", ",50,", "7,,2500"] {
            assert!(
                of(wrong).unwrap_err().contains("give capacity_tokens, or ptus and tpm_per_ptu"),
                "{wrong}"
            );
        }
        assert!(of("1.5,,").unwrap_err().contains("capacity_tokens is 1.5; allowed: a whole number"));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed() {
        let wrong = |header: &str, line: &str| {
            PtuCosts::parse(&format!("deployment,month,cost,currency{header}\n{line}"))
                .unwrap_err()
                .to_string()
        };
        for (header, line, needle) in [
            ("", "d,2026-13,1,EUR", "month is 2026-13; allowed: a month such as 2026-11"),
            ("", "d,2026-9,1,EUR", "month is 2026-9"),
            ("", "d,2026-09-01,1,EUR", "month is 2026-09-01"),
            (
                "",
                "d,2026-09,1.005,EUR",
                "cost is 1.005; allowed: a number such as 26280.00, below a billion, with up to 2 places",
            ),
            ("", "d,2026-09,1.5,JPY", "with up to 0 places"),
            ("", ",2026-09,1,eur", "deployment is empty; currency is eur"),
            ("", "d,2026-09,1,EUR\nd,2026-09,2,EUR", "line 3: has the deployment and the month of line 2"),
            ("", "d,2026-09,1,EUR\ne,2026-09,2,USD", "one file, one currency"),
            (",weight_output", "d,2026-09,1,EUR,-1", "weight_output is -1; allowed: a number such as 4"),
            (",weight_images", "d,2026-09,1,EUR,1", "`weight_images` is no column; allowed: deployment"),
            (",weight_input_text", "d,2026-09,1,EUR,1", "is no column"),
        ] {
            assert!(wrong(header, line).contains(needle), "{line}: {}", wrong(header, line));
        }
    }
}
