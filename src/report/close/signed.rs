//! Numbers of a bill with their sign, exactly: whole ones, and decimal ones of as many places as an amount has.

use std::fmt;
use std::ops::{Add, Neg};
use std::str::FromStr;

/// Decimal places of `whole`, and those of `rest` behind them.
const WHOLE_PLACES: usize = 18;
const REST_PLACES: usize = 12;
const WHOLE_ONE: u128 = 10_u128.pow(18);
const REST_ONE: i64 = 10_i64.pow(12);

/// A decimal number: `whole` times 10^-18 and `rest` times 10^-30.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SignedDecimal {
    whole: i128,
    /// At least 0, and less than 10^12.
    rest: i64,
}

impl SignedDecimal {
    pub(super) fn is_zero(self) -> bool {
        self == SignedDecimal::default()
    }

    /// With at least so many decimal places; none at all if it needs none and none is wanted.
    pub(super) fn text(self, places_min: usize) -> String {
        let is_negative = self.whole < 0;
        let positive = if is_negative { -self } else { self };
        let whole = positive.whole.unsigned_abs();
        let places =
            format!("{:0w$}{:0r$}", whole % WHOLE_ONE, positive.rest, w = WHOLE_PLACES, r = REST_PLACES);
        let places = places.trim_end_matches('0');
        let point = if places.is_empty() && places_min == 0 { "" } else { "." };
        let sign = if is_negative { "-" } else { "" };
        format!("{sign}{}{point}{places:0<places_min$}", whole / WHOLE_ONE)
    }
}

impl Neg for SignedDecimal {
    type Output = SignedDecimal;

    fn neg(self) -> SignedDecimal {
        match self.rest {
            0 => SignedDecimal { whole: -self.whole, rest: 0 },
            rest => SignedDecimal { whole: -self.whole - 1, rest: REST_ONE - rest },
        }
    }
}

impl Add for SignedDecimal {
    type Output = SignedDecimal;

    fn add(self, other: SignedDecimal) -> SignedDecimal {
        let rest = self.rest + other.rest;
        let whole = self.whole.saturating_add(other.whole).saturating_add(i128::from(rest / REST_ONE));
        SignedDecimal { whole, rest: rest % REST_ONE }
    }
}

impl FromStr for SignedDecimal {
    type Err = String;

    fn from_str(text: &str) -> Result<SignedDecimal, String> {
        let wrong = || format!("`{text}` is no number");
        let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || !is_number(whole)
            || !is_number(places)
            || places.len() > WHOLE_PLACES + REST_PLACES
        {
            return Err(wrong());
        }
        let places = format!("{places:0<width$}", width = WHOLE_PLACES + REST_PLACES);
        let (high, rest) = places.split_at(WHOLE_PLACES);
        let whole = format!("{whole}{high}").parse().map_err(|_| wrong())?;
        let number = SignedDecimal { whole, rest: rest.parse().map_err(|_| wrong())? };
        Ok(if is_negative { -number } else { number })
    }
}

impl fmt::Display for SignedDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> SignedDecimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_is_read_and_written_exactly() {
        for (text, places, shown) in [
            ("0", 0, "0"),
            ("-0.0", 1, "0.0"),
            ("12", 2, "12.00"),
            ("-1.5", 2, "-1.50"),
            ("0.000000000000000000000000000001", 2, "0.000000000000000000000000000001"),
            ("-0.000000000000000000000000000001", 0, "-0.000000000000000000000000000001"),
        ] {
            assert_eq!(of(text).text(places), shown);
        }
        for wrong in ["", "-", ".5", "1e3", "1,5", "--1", "+1", "1.0000000000000000000000000000001"] {
            assert!(wrong.parse::<SignedDecimal>().is_err(), "{wrong}");
        }
    }

    fn number() -> impl Strategy<Value = SignedDecimal> {
        (-(10_i128.pow(30))..10_i128.pow(30), 0..REST_ONE)
            .prop_map(|(whole, rest)| SignedDecimal { whole, rest })
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_away(a in number(), b in number()) {
            prop_assert_eq!(a + b + -b, a);
            prop_assert_eq!(-(a + b), -a + -b);
            prop_assert_eq!(of(&a.text(2)), a);
        }
    }
}
