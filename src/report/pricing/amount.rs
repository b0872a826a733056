//! Money in exact arithmetic: whole numbers of 10^-18 of a currency, so that nothing is ever rounded.

use std::fmt;

/// Decimal places of an amount.
pub(super) const PLACES: u32 = 18;

/// Money, in 10^-18 of the currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub(super) u128);

impl Amount {
    pub(in crate::report) fn add(&mut self, other: Amount) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl fmt::Display for Amount {
    /// Exactly, with at least two decimal places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(PLACES);
        let places = format!("{:018}", self.0 % one);
        let places = places.trim_end_matches('0');
        write!(f, "{}.{places:0<2}", self.0 / one)
    }
}
