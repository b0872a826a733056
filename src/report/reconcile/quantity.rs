//! Quantities in exact arithmetic: whole numbers of 10^-18, since Azure writes tokens as decimals of thousands and as
//! floats.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Decimal places that are kept; what lies below is dropped.
const PLACES: u32 = 18;

/// One, as it is held.
const ONE: i128 = 10_i128.pow(PLACES);

/// Digits of a number that are read. A float has 17; with 25 and a multiplier of a million no product is too large.
const DIGITS_MAX: usize = 25;

/// The largest number that is read, in powers of ten: 100,000 of them can be added.
const POWER_MAX: u32 = 15;

/// Places of a ratio.
const RATIO_PLACES: u32 = 6;

/// Places that products keep, so that they do not overflow.
const COARSE: i128 = 10_i128.pow(9);

/// Tokens or units, in 10^-18 of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

impl Quantity {
    /// None.
    pub const ZERO: Quantity = Quantity(0);

    /// So many whole ones.
    pub fn of(number: u64) -> Quantity {
        Quantity(i128::from(number) * ONE)
    }

    /// A decimal number, perhaps with an exponent, times `multiplier`, exactly as it is written. `None` if it is none,
    /// or too large to be one of tokens.
    pub fn parse(text: &str, multiplier: u64) -> Option<Quantity> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: String = [whole, places].concat();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let kept = significant.get(..DIGITS_MAX).unwrap_or(significant);
        let dropped = significant.len() - kept.len();
        let number: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        let power = i64::from(exponent) + i64::from(PLACES) + i64::try_from(dropped).ok()?
            - i64::try_from(places.len()).ok()?;
        let value = shifted(number.checked_mul(i128::from(multiplier))?, power)?;
        let value = (value <= ONE * 10_i128.pow(POWER_MAX)).then_some(value)?;
        Some(Quantity(if negative { -value } else { value }))
    }

    /// It is more than none.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// It is less than none.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Without its sign.
    pub fn abs(self) -> Quantity {
        Quantity(self.0.saturating_abs())
    }

    /// The same for each of so many.
    pub fn times(self, number: u64) -> Quantity {
        Quantity(self.0.saturating_mul(i128::from(number)))
    }

    /// The product of two; what lies below 10^-18 of either's coarse part is dropped.
    pub(super) fn product(self, other: Quantity) -> Quantity {
        Quantity((self.0 / COARSE).saturating_mul(other.0 / COARSE))
    }

    /// The mean of so many; none of none.
    pub fn over(self, number: u64) -> Quantity {
        Quantity(self.0.checked_div(i128::from(number)).unwrap_or_default())
    }

    /// Returns the part that so many of so many have, if all have the same.
    pub(super) fn share(self, some: Quantity, all: Quantity) -> Quantity {
        let (some, all) = (some.0 / ONE, all.0 / ONE);
        match self.0.checked_mul(some) {
            Some(product) => Quantity(product.checked_div(all).unwrap_or_default()),
            None => Quantity((self.0 / all.max(1)).saturating_mul(some)),
        }
    }

    /// This part of a whole, as a decimal with six places, the last rounded; `None` of nothing.
    pub fn ratio(self, whole: Quantity) -> Option<String> {
        let coarse = whole.0 / COARSE;
        if coarse <= 0 {
            return None;
        }
        let one = 10_i128.pow(RATIO_PLACES);
        let scaled = (self.0 / COARSE).saturating_mul(one).saturating_add(coarse / 2).div_euclid(coarse);
        let sign = if scaled < 0 { "-" } else { "" };
        let scaled = scaled.abs();
        Some(format!("{sign}{}.{:06}", scaled / one, scaled % one))
    }

    /// It is more than `parts` of `of` parts of a whole.
    pub(super) fn exceeds(self, parts: u64, of: u64, whole: Quantity) -> bool {
        let side = |quantity: Quantity, factor: u64| (quantity.0 / COARSE).saturating_mul(i128::from(factor));
        side(self, of) > side(whole, parts)
    }
}

/// A number times a power of ten; what falls below one is dropped.
fn shifted(number: i128, power: i64) -> Option<i128> {
    if number == 0 {
        return Some(0);
    }
    let factor = |power: u64| 10_i128.checked_pow(u32::try_from(power).ok()?);
    match u64::try_from(power) {
        Ok(power) => number.checked_mul(factor(power)?),
        Err(_) => Some(factor(power.unsigned_abs()).map_or(0, |factor| number / factor)),
    }
}

impl fmt::Display for Quantity {
    /// Exactly, with as many places as it has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let one = ONE.unsigned_abs();
        write!(f, "{sign}{}", magnitude / one)?;
        match magnitude % one {
            0 => Ok(()),
            places => write!(f, ".{}", format!("{places:018}").trim_end_matches('0')),
        }
    }
}

/// As a number of JSON, with all its places.
impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        Quantity(self.0.saturating_add(other.0))
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        Quantity(self.0.saturating_sub(other.0))
    }
}

impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity(self.0.saturating_neg())
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(all: I) -> Quantity {
        all.fold(Quantity::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, multiplier: u64) -> Option<String> {
        Quantity::parse(text, multiplier).map(|quantity| quantity.to_string())
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for (text, multiplier, value) in [
            ("793294592.0", 1, "793294592"),
            ("7.93294592E8", 1, "793294592"),
            ("1e15", 1, "1000000000000000"),
            ("0.1", 1, "0.1"),
            ("12.345", 1000, "12345"),
            ("1.2999999999999999E-05", 1000, "0.012999999999999999"),
            ("0.30000000000000004", 1_000_000, "300000.00000000004"),
            (".5", 1000, "500"),
            ("-2", 1000, "-2000"),
            ("0", 1000, "0"),
            ("0e99999", 1, "0"),
            ("1e-99", 1, "0"),
        ] {
            assert_eq!(read(text, multiplier).as_deref(), Some(value), "{text}");
        }
        for text in
            ["", "-", ".", "1,5", "NaN", "inf", "1e16", "1e999", "1e99999999999", "0x1", "1 000", "--1"]
        {
            assert_eq!(read(text, 1), None, "{text}");
        }
    }

    #[test]
    fn ratios_and_shares_are_exact() {
        let of = Quantity::of;
        assert_eq!(of(995).ratio(of(1000)).as_deref(), Some("0.995000"));
        assert_eq!(of(2).ratio(of(3)).as_deref(), Some("0.666667"));
        assert_eq!((of(1).ratio(of(0)), of(0).ratio(of(7)).as_deref()), (None, Some("0.000000")));
        assert!(!of(5).exceeds(5, 1000, of(1000)) && of(6).exceeds(5, 1000, of(1000)));
    }

    proptest! {
        /// A number that is shown is read again as the same, and a float's own text gives its whole number.
        #[test]
        fn what_is_shown_is_read_again(number in 0..1_u64 << 49, places in 0..1_000_000_000_u64) {
            let text = format!("{number}.{places:09}");
            let quantity = Quantity::parse(&text, 1).unwrap();
            prop_assert_eq!(Quantity::parse(&quantity.to_string(), 1), Some(quantity));
            prop_assert_eq!(Quantity::parse(&format!("{:?}", number as f64), 1), Some(Quantity::of(number)));
            prop_assert_eq!(Quantity::parse(&format!("{:e}", number as f64), 1), Some(Quantity::of(number)));
        }
    }
}
