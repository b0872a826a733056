//! Money in exact arithmetic: whole numbers, so that nothing is ever rounded.

use std::fmt;
use std::iter::Sum;

/// Decimal places of a price of one token, and of an amount in the currency of the prices.
pub(super) const PLACES: u32 = 18;

/// Decimal places of a rate between currencies; an amount that was converted has these more.
pub(super) const RATE_PLACES: u32 = 12;

const RATE_ONE: u128 = 10_u128.pow(RATE_PLACES);

/// Money: whole numbers of 10^-18 of a currency, and what is left below that after a conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    whole: u128,
    /// In 10^-30, less than 10^-18.
    rest: u64,
}

impl Amount {
    /// So many times 10^-18.
    pub(crate) const fn of(whole: u128) -> Amount {
        Amount { whole, rest: 0 }
    }

    /// The whole numbers of 10^-18 in it; what a conversion leaves below that is cut off.
    pub(crate) const fn whole(self) -> u128 {
        self.whole
    }

    /// It reached the end of what can be told, 3.4 x 10^20, and stays there, whatever is added.
    pub(super) const fn is_full(self) -> bool {
        self.whole == u128::MAX
    }

    /// A quantity at the price of one. 10^14 tokens at a price of a million each still fit.
    pub(super) fn product(quantity: u64, unit: u128) -> Amount {
        Amount::of(u128::from(quantity).saturating_mul(unit))
    }

    pub(crate) fn add(&mut self, other: Amount) {
        let rest = u128::from(self.rest) + u128::from(other.rest);
        let carry = rest / RATE_ONE;
        self.whole = self.whole.saturating_add(other.whole).saturating_add(carry);
        // Below 10^12, so it fits.
        self.rest = u64::try_from(rest % RATE_ONE).unwrap_or_default();
    }

    /// Returns the part that is above so many times 10^-18.
    pub(super) fn less(self, whole: u128) -> Amount {
        Amount { whole: self.whole.saturating_sub(whole), ..self }
    }

    /// The amount in another currency, exactly; `rate` in 10^-12. An amount that was converted before loses what is
    /// below 10^-18.
    pub(super) fn times(self, rate: u128) -> Amount {
        let (high, low) = (self.whole / RATE_ONE, self.whole % RATE_ONE);
        let low = low.saturating_mul(rate);
        let whole = high.saturating_mul(rate).saturating_add(low / RATE_ONE);
        Amount { whole, rest: u64::try_from(low % RATE_ONE).unwrap_or_default() }
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), |mut sum, amount| {
            sum.add(amount);
            sum
        })
    }
}

impl fmt::Display for Amount {
    /// Exactly, with at least two decimal places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(PLACES);
        let places = format!("{:018}{:012}", self.whole % one, self.rest);
        let places = places.trim_end_matches('0');
        write!(f, "{}.{places:0<2}", self.whole / one)
    }
}
