//! Exports of Cost Management as CSV: FOCUS, or actual and amortized cost details. The header says which it is.
//!
//! A row counts if it is usage of an account of Azure's AI services. Its meter says what the quantity is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};
use jiff::ToSpan;
use jiff::civil::Date;
use smol_str::SmolStr;
use strum::{Display, VariantArray};

use super::azure_monitor::resource_of;
use super::azure_time::{begin_of, day};
use super::billed::{Billed, UnmatchedMeter};
use super::coverage::Coverage;
use super::input_file::{EXPORT_BYTES_MAX, open, wrong};
use super::line_key::{Basis, LineKey, Subject};
use super::measure::Measure;
use super::meters::{MeterClass, Meters};
use super::quantity::Quantity;
use crate::report::error::ReportError;

/// The provider of the accounts whose rows are read, in lower case.
const PROVIDER: &str = "/microsoft.cognitiveservices/";

/// Charges of usage have this name; the others are purchases, refunds and the like.
const USAGE: &str = "usage";

/// Discounts and rates of currencies are smaller than this, and a block of a thousand tokens is larger.
const PRICE_FACTOR: u64 = 30;

/// These cells are read of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, VariantArray)]
enum CostColumn {
    Day,
    Resource,
    Meter,
    Subcategory,
    Quantity,
    Unit,
    PricingQuantity,
    PricingBlock,
    PricingUnit,
    Charge,
    Cost,
    Currency,
    UnitPrice,
    PricingCost,
    PricingCurrency,
}

impl CostColumn {
    /// Its names in FOCUS and in cost details, the best first.
    fn names(self) -> &'static [&'static str] {
        match self {
            CostColumn::Day => &["ChargePeriodStart", "date", "usageDate"],
            CostColumn::Resource => &["ResourceId", "instanceId"],
            CostColumn::Meter => &["SkuMeter", "x_SkuMeterName", "meterName"],
            CostColumn::Subcategory => &["x_SkuMeterSubcategory", "meterSubCategory"],
            CostColumn::Quantity => &["ConsumedQuantity", "UsageQuantity", "quantity"],
            CostColumn::Unit => &["ConsumedUnit", "UsageUnit", "unitOfMeasure"],
            CostColumn::PricingQuantity => &["PricingQuantity"],
            CostColumn::PricingBlock => &["x_PricingBlockSize"],
            CostColumn::PricingUnit => &["x_PricingUnitDescription", "PricingUnit"],
            CostColumn::Charge => &["ChargeCategory", "chargeType"],
            CostColumn::Cost => &["EffectiveCost", "costInBillingCurrency", "cost"],
            CostColumn::Currency => &["BillingCurrency", "billingCurrencyCode"],
            CostColumn::UnitPrice => &["unitPrice"],
            CostColumn::PricingCost => &["costInPricingCurrency"],
            CostColumn::PricingCurrency => &["pricingCurrency"],
        }
    }
}

/// Reads all files, and puts their rows where they belong.
pub(super) fn read(paths: &[PathBuf], meters: &Meters, billed: &mut Billed) -> Result<(), ReportError> {
    let mut seen = BTreeSet::new();
    let mut export = Export::default();
    for path in paths {
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(wrong(path, "is given twice: each row would count twice"));
        }
        export.add_file(path, meters, billed)?;
    }
    export.finish(billed);
    Ok(())
}

/// The facts of all files together.
#[derive(Debug, Default)]
struct Export {
    /// The quantity of each line, and what batch meters counted of it.
    sums: BTreeMap<LineKey, (Quantity, Quantity)>,
    days: Option<(Date, Date)>,
    /// Rows whose two quantities say different things.
    contradicted: u64,
}

impl Export {
    fn add_file(&mut self, path: &Path, meters: &Meters, billed: &mut Billed) -> Result<(), ReportError> {
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(open(path, EXPORT_BYTES_MAX)?);
        let mut record = StringRecord::new();
        let failed = |error: csv::Error| wrong(path, error.to_string());
        if !reader.read_record(&mut record).map_err(failed)? {
            return Err(wrong(path, "is empty: give an export of Cost Management as CSV"));
        }
        let columns = columns(&record).map_err(|problem| wrong(path, format!("line 1: {problem}")))?;
        while reader.read_record(&mut record).map_err(failed)? {
            let row = Row { record: &record, columns: &columns };
            let line = record.position().map_or(0, csv::Position::line);
            self.add_row(&row, meters, billed)
                .map_err(|problem| wrong(path, format!("line {line}: {problem}")))?;
        }
        Ok(())
    }

    fn add_row(&mut self, row: &Row<'_>, meters: &Meters, billed: &mut Billed) -> Result<(), String> {
        let Some(resource) = row.resource() else { return Ok(()) };
        let charge = row.get(CostColumn::Charge);
        if !charge.is_empty() && !charge.eq_ignore_ascii_case(USAGE) {
            return Ok(());
        }
        let day = row.day()?;
        self.days = Some(self.days.map_or((day, day), |(first, last)| (first.min(day), last.max(day))));
        let name = row.get(CostColumn::Meter);
        let meter = meters.of(name, row.get(CostColumn::Subcategory));
        let Some(class) = meter.class else {
            billed.add_unmatched(row.unmatched(resource)?);
            return Ok(());
        };
        let MeterClass::Counted(class) = class else { return Ok(()) };
        let (quantity, is_contradicted) = row.quantity(meter.per)?;
        self.contradicted += u64::from(is_contradicted);
        billed.add_model(&resource, &meter.model);
        let subject = Subject {
            basis: Basis::CostExport,
            resource,
            scope: meter.model,
            measure: Measure::Class(class),
        };
        let sums = self.sums.entry(subject.on(day)).or_default();
        sums.0 += quantity;
        sums.1 += if meter.is_batch { quantity } else { Quantity::ZERO };
        Ok(())
    }

    fn finish(self, billed: &mut Billed) {
        let after = |day: Date| day.checked_add(1.day()).ok().and_then(begin_of);
        let ends = self.days.and_then(|(first, last)| Some((begin_of(first)?, after(last)?)));
        let mut cover = Coverage::default();
        if let Some((from, to)) = ends {
            cover.add(from, to);
        }
        billed.cover_costs(&cover);
        for (key, (quantity, batch)) in self.sums {
            billed.add_cost(key, quantity, batch);
        }
        if self.contradicted > 0 {
            let rows = self.contradicted;
            billed.notes.push(format!(
                "{rows} rows of a cost export have a ConsumedQuantity that is not PricingQuantity times x_PricingBlockSize: the latter counts"
            ));
        }
    }
}

fn columns(header: &StringRecord) -> Result<BTreeMap<CostColumn, usize>, String> {
    let names: Vec<&str> = header.iter().map(|name| name.trim_start_matches('\u{feff}').trim()).collect();
    let place = |name: &&str| names.iter().position(|given| given.eq_ignore_ascii_case(name));
    let mut columns = BTreeMap::new();
    for column in CostColumn::VARIANTS {
        if let Some(place) = column.names().iter().find_map(place) {
            columns.insert(*column, place);
        }
    }
    let has_quantity =
        [CostColumn::Quantity, CostColumn::PricingQuantity].iter().any(|one| columns.contains_key(one));
    let wanted = [CostColumn::Day, CostColumn::Resource, CostColumn::Meter];
    let missing = wanted.into_iter().find(|column| !columns.contains_key(column));
    let missing = missing.or((!has_quantity).then_some(CostColumn::Quantity));
    match missing {
        Some(column) => Err(format!(
            "there is no column {}: give an export of Cost Management (FOCUS, or actual or amortized cost) as CSV",
            column.names().join(" or ")
        )),
        None => Ok(columns),
    }
}

/// One row of an export.
struct Row<'a> {
    record: &'a StringRecord,
    columns: &'a BTreeMap<CostColumn, usize>,
}

impl<'a> Row<'a> {
    /// The text of a column; empty where there is none.
    fn get(&self, column: CostColumn) -> &'a str {
        self.columns.get(&column).and_then(|place| self.record.get(*place)).unwrap_or_default().trim()
    }

    /// The account whose row it is, if it is one of the AI services.
    fn resource(&self) -> Option<SmolStr> {
        let id = self.get(CostColumn::Resource);
        id.to_ascii_lowercase().contains(PROVIDER).then(|| resource_of(id)).flatten()
    }

    fn day(&self) -> Result<Date, String> {
        let text = self.get(CostColumn::Day);
        day(text).ok_or_else(|| {
            format!("the day is `{text}`; allowed: 2026-11-22, 11/22/2026 or 2026-11-22T00:00:00Z, with or without seconds")
        })
    }

    fn number(&self, column: CostColumn, multiplier: u64) -> Result<Option<Quantity>, String> {
        let text = self.get(column);
        if text.is_empty() {
            return Ok(None);
        }
        let number = Quantity::parse(text, multiplier);
        number.map(Some).ok_or_else(|| format!("{column} is `{text}`; allowed: a decimal number up to 10^15"))
    }

    /// Tokens or units, and whether the row contradicts itself.
    fn quantity(&self, per: Option<u64>) -> Result<(Quantity, bool), String> {
        let block = match self.get(CostColumn::PricingBlock) {
            "" => None,
            text => Some(block_size(text)?),
        };
        let block = per.or(block).or_else(|| number_of(self.get(CostColumn::PricingUnit)));
        let priced = match block {
            Some(block) => self.number(CostColumn::PricingQuantity, block)?,
            None => None,
        };
        let of_unit = per.or_else(|| number_of(self.get(CostColumn::Unit)));
        let consumed = self.number(CostColumn::Quantity, of_unit.unwrap_or(1))?;
        if let Some(priced) = priced {
            let differs = per.is_none() && consumed.is_some_and(|consumed| consumed != priced);
            return Ok((priced, differs));
        }
        match of_unit.filter(|_| per.is_none()) {
            Some(block) if self.is_unblocked(block)? => {
                Ok((self.number(CostColumn::Quantity, 1)?.unwrap_or_default(), false))
            }
            _ => Ok((consumed.unwrap_or_default(), false)),
        }
    }

    /// The price says that the quantity is not in blocks of its unit, but in single tokens: the cost is less than a
    /// thirtieth of quantity times price. Exports have been seen in which it is so.
    fn is_unblocked(&self, block: u64) -> Result<bool, String> {
        let pricing = self.number(CostColumn::PricingCost, 1)?;
        let currency = self.get(CostColumn::PricingCurrency);
        let is_same = currency.is_empty() || currency.eq_ignore_ascii_case(self.get(CostColumn::Currency));
        let billing = if is_same { self.number(CostColumn::Cost, 1)? } else { None };
        let (Some(cost), Some(price)) = (pricing.or(billing), self.number(CostColumn::UnitPrice, 1)?) else {
            return Ok(false);
        };
        let Some(count) = self.number(CostColumn::Quantity, 1)? else { return Ok(false) };
        let known = block > PRICE_FACTOR && cost.is_positive() && price.is_positive() && count.is_positive();
        Ok(known && cost.times(PRICE_FACTOR) < count.product(price))
    }

    fn unmatched(&self, resource: SmolStr) -> Result<UnmatchedMeter, String> {
        let unit = [CostColumn::Unit, CostColumn::PricingUnit].map(|column| self.get(column));
        Ok(UnmatchedMeter {
            resource,
            meter: self.get(CostColumn::Meter).to_owned(),
            unit: unit.into_iter().find(|unit| !unit.is_empty()).unwrap_or_default().to_owned(),
            rows: 1,
            quantity: self.number(CostColumn::Quantity, 1)?.unwrap_or_default(),
            cost: self.number(CostColumn::Cost, 1)?.unwrap_or_default(),
            currency: self.get(CostColumn::Currency).to_owned(),
        })
    }
}

fn block_size(text: &str) -> Result<u64, String> {
    let whole = text.split_once('.').filter(|(_, places)| places.bytes().all(|byte| byte == b'0'));
    let number = whole.map_or(text, |(whole, _)| whole).parse::<u64>().ok().filter(|block| *block > 0);
    number.ok_or_else(|| format!("x_PricingBlockSize is `{text}`; allowed: a whole number from 1"))
}

/// The number in a unit: `1K`, `1M`, `1000 Tokens`, `10,000`; `None`: it has none.
fn number_of(unit: &str) -> Option<u64> {
    let digits: String =
        unit.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    let rest = unit.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',');
    let after = rest.chars().nth(1).is_none_or(|next| !next.is_ascii_alphabetic());
    let factor = match rest.chars().next().filter(|_| after) {
        Some('k' | 'K') => 1_000,
        Some('m' | 'M') => 1_000_000,
        Some('b' | 'B') => 1_000_000_000,
        _ => 1,
    };
    digits.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(columns_and_values: &[(&str, &str)], per: Option<u64>) -> Result<(String, bool), String> {
        let (names, values): (Vec<&str>, Vec<&str>) = columns_and_values.iter().copied().unzip();
        let names: StringRecord = ["date", "ResourceId", "meterName"].iter().chain(&names).collect();
        let values: StringRecord = ["2026-11-22", "/x", "m"].iter().chain(&values).collect();
        let columns = columns(&names)?;
        let row = Row { record: &values, columns: &columns };
        row.quantity(per).map(|(quantity, differs)| (quantity.to_string(), differs))
    }

    #[test]
    fn the_unit_says_what_a_quantity_is() {
        let native = |quantity_text, unit| {
            quantity(&[("quantity", quantity_text), ("unitOfMeasure", unit)], None).unwrap().0
        };
        assert_eq!(native("12.345", "1K"), "12345");
        assert_eq!(native("0.5", "1M"), "500000");
        assert_eq!(native("12345", "Tokens"), "12345");
        assert_eq!(native("1.2", "10,000 Tokens"), "12000");
        assert_eq!(native("3", "1 Minute"), "3", "a minute is no million");
        let focus = [
            ("PricingQuantity", "12.3"),
            ("x_PricingBlockSize", "1000.0"),
            ("ConsumedQuantity", "12300"),
            ("ConsumedUnit", "Units"),
        ];
        assert_eq!(quantity(&focus, None).unwrap(), ("12300".to_owned(), false));
        let focus = [
            ("PricingQuantity", "12.3"),
            ("x_PricingBlockSize", "1000"),
            ("ConsumedQuantity", "12.3"),
            ("ConsumedUnit", "Units"),
        ];
        assert_eq!(quantity(&focus, None).unwrap(), ("12300".to_owned(), true));
        let other = [
            ("PricingQuantity", "0.5"),
            ("PricingUnit", "1000000 Tokens"),
            ("ConsumedQuantity", "500000"),
            ("ConsumedUnit", "Tokens"),
        ];
        assert_eq!(quantity(&other, None).unwrap(), ("500000".to_owned(), false));
        assert_eq!(quantity(&[("quantity", "7"), ("unitOfMeasure", "1K")], Some(5)).unwrap().0, "35");
    }

    #[test]
    fn a_price_tells_single_tokens_from_blocks() {
        let row = |quantity_text, cost, currency, in_pricing| {
            let columns = [
                ("quantity", quantity_text),
                ("unitOfMeasure", "1K"),
                ("unitPrice", "0.0025"),
                ("costInBillingCurrency", cost),
                ("billingCurrency", currency),
                ("pricingCurrency", "USD"),
                ("costInPricingCurrency", in_pricing),
            ];
            quantity(&columns, None).unwrap().0
        };
        assert_eq!(row("400", "1.00", "USD", ""), "400000", "blocks");
        assert_eq!(row("400000", "0.60", "USD", ""), "400000", "tokens, with a discount");
        assert_eq!(row("400000", "1400", "KRW", "1.0"), "400000", "tokens, paid in won");
        assert_eq!(row("400", "1400", "KRW", ""), "400000", "no price that could be compared");
        assert_eq!(row("400", "0", "USD", ""), "400000", "free");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let problem = |given: &[(&str, &str)]| quantity(given, None).unwrap_err();
        assert!(
            problem(&[("price", "1")])
                .starts_with("there is no column ConsumedQuantity or UsageQuantity or quantity")
        );
        assert_eq!(
            problem(&[("quantity", "1,5")]),
            "Quantity is `1,5`; allowed: a decimal number up to 10^15"
        );
        let block = problem(&[("PricingQuantity", "1"), ("x_PricingBlockSize", "0")]);
        assert_eq!(block, "x_PricingBlockSize is `0`; allowed: a whole number from 1");
    }
}
