//! The name of a price in bills.

use jiff::Timestamp;
use smol_str::SmolStr;

use super::billed_parts::PriceClass;

/// A price as bills name it. Two prices of one name are never in force at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriceName {
    /// The name.
    pub id: SmolStr,
    /// It is the name of the prices of one model and of `class`, and of nothing else.
    pub is_of_one: bool,
    /// The class that the price is given for. It may stand for others.
    pub class: PriceClass,
    /// Inclusive; `None`: since ever.
    pub from: Option<Timestamp>,
    /// Exclusive; `None`: for ever.
    pub to: Option<Timestamp>,
    /// The price of one token or unit, in 10^-18 of the currency.
    pub unit: u128,
}

impl PriceName {
    pub(super) fn unnamed(class: PriceClass, unit: u128) -> PriceName {
        PriceName { id: SmolStr::default(), is_of_one: false, class, from: None, to: None, unit }
    }
}
