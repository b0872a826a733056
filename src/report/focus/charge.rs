//! One charge, taken from a row of a report.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::report::columns::Column;
use crate::report::group_by::GroupBy;
use crate::report::key_value::{KeyValue, MissingKey};
use crate::report::pricing::{Amount, PriceClass, PriceName};
use crate::report::sums::ReportSums;
use metering::usage::{Quality, Side, TokenClass};

/// The keys of the rows that charges are taken from.
pub(crate) const FOCUS_KEYS: [GroupBy; 11] = [
    GroupBy::ChargeDay,
    GroupBy::Caller,
    GroupBy::Department,
    GroupBy::CostCenter,
    GroupBy::Resource,
    GroupBy::Deployment,
    GroupBy::ChargeRegion,
    GroupBy::BilledModel,
    GroupBy::ChargeTier,
    GroupBy::Class,
    GroupBy::Price,
];

/// One charge.
#[derive(Clone, Debug)]
pub(super) struct FocusCharge<'a> {
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
    /// The first day of its month.
    pub(super) month: Date,
    pub(super) caller: Option<&'a str>,
    pub(super) department: Option<&'a str>,
    pub(super) cost_center: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
    pub(super) deployment: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) tier: &'a str,
    /// `None`: the part of a fixed cost that nobody used.
    pub(super) class: Option<PriceClass>,
    /// `None`: a share in a fixed cost.
    pub(super) price: Option<&'a Arc<PriceName>>,
    pub(super) quantity: u64,
    pub(super) cost: Amount,
    pub(super) requests: u64,
    /// Tokens by how far they can be trusted.
    pub(super) exact: u64,
    pub(super) lower_bound: u64,
    pub(super) estimated: u64,
}

impl<'a> FocusCharge<'a> {
    /// The charge of a row that has the [`FOCUS_KEYS`]; `None`: nothing of it has a price.
    pub(super) fn of(keys: &'a [KeyValue], sums: &ReportSums) -> Option<FocusCharge<'a>> {
        let [day, caller, department, cost_center, resource, deployment, region, model, tier, class, price] =
            keys
        else {
            return None;
        };
        let price = match price {
            KeyValue::Price(price) => Some(price),
            KeyValue::Missing(MissingKey::FixedCost | MissingKey::Idle) => None,
            _ => return None,
        };
        let class: Option<PriceClass> = name(class).and_then(|class| class.parse().ok());
        let (first, last) = period(day)?;
        let (begin, end) = (midnight(first)?, midnight(last)?);
        let (from, to) = price.map_or((None, None), |price| (price.from, price.to));
        Some(FocusCharge {
            begin: from.map_or(begin, |from| begin.max(from)),
            end: to.map_or(end, |to| end.min(to)),
            month: first.first_of_month(),
            caller: name(caller),
            department: name(department),
            cost_center: name(cost_center),
            resource: name(resource),
            deployment: name(deployment),
            region: name(region),
            model: name(model),
            tier: name(tier).unwrap_or_default(),
            class,
            price,
            quantity: class.map_or(0, |class| quantity(class, sums)),
            cost: sums.cost()?,
            requests: sums.of_column(Column::Calls),
            exact: sums.of_column(Column::Of(Quality::Exact)),
            lower_bound: sums.of_column(Column::Of(Quality::LowerBound)),
            estimated: sums.of_column(Column::Of(Quality::Estimated)),
        })
    }
}

fn name(key: &KeyValue) -> Option<&str> {
    match key {
        KeyValue::Name(name) => Some(name),
        _ => None,
    }
}

/// The first day, and the day behind the last.
fn period(key: &KeyValue) -> Option<(Date, Date)> {
    match key {
        KeyValue::Day(day) => Some((*day, day.checked_add(1.day()).ok()?)),
        KeyValue::Month(first) => Some((*first, first.checked_add(1.month()).ok()?)),
        _ => None,
    }
}

/// The beginning of a day of UTC.
pub(super) fn midnight(day: Date) -> Option<Timestamp> {
    Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Returns how much was used, from a row of one class.
fn quantity(class: PriceClass, sums: &ReportSums) -> u64 {
    let of = |column| sums.of_column(column);
    match (class.side(), class.unit()) {
        (Some(side @ Side::Input), _) => of(Column::Tokens(TokenClass::Input)) + of(Column::Tools(side)),
        (Some(side @ Side::Output), _) => of(Column::Tokens(TokenClass::Output)) + of(Column::Tools(side)),
        (None, Some(unit)) => of(Column::Units(unit)),
        (None, None) => 0,
    }
}
