//! Amounts of money for people: as many decimal places as a column needs, the same in all its lines.

use super::pricing::Amount;

/// Decimal places of an [`Amount`].
const PLACES: u32 = 18;

/// Decimal places that every amount has.
const PLACES_MIN: u32 = 2;

/// Separates thousands: U+202F, which neither breaks nor is taken for a decimal sign.
const GROUP: char = '\u{202f}';

/// The decimal places that all amounts need to be shown exactly, and at most so many.
pub(super) fn scale_of(amounts: impl Iterator<Item = Amount>, max: u32) -> u32 {
    let needed = |amount: Amount| {
        let mut rest = amount.whole() % 10_u128.pow(PLACES);
        let mut places = PLACES;
        while places > PLACES_MIN && rest.is_multiple_of(10) {
            rest /= 10;
            places -= 1;
        }
        places
    };
    amounts.map(needed).max().unwrap_or(PLACES_MIN).clamp(PLACES_MIN, max.max(PLACES_MIN))
}

/// An amount with so many decimal places, rounded half up.
pub(super) fn money(amount: Amount, places: u32) -> String {
    let places = places.min(PLACES);
    let unit = 10_u128.pow(PLACES - places);
    let rounded = amount.whole() / unit + u128::from(amount.whole() % unit >= unit.div_ceil(2) && unit > 1);
    let one = 10_u128.pow(places);
    format!("{}.{:0width$}", rounded / one, rounded % one, width = places as usize)
}

/// A number whose thousands are set apart.
pub(super) fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = String::with_capacity(number.len() * 2);
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(GROUP);
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many times 10^-18.
    fn amount(text: &str) -> Amount {
        let (whole, rest) = text.split_once('.').unwrap();
        Amount::of(format!("{whole}{rest:0<18}").parse().unwrap())
    }

    #[test]
    fn amounts_of_a_column_have_the_same_places() {
        let scale = |amounts: &[&str], max| scale_of(amounts.iter().map(|text| amount(text)), max);
        assert_eq!((scale(&[], 6), scale(&["1.0", "2.5"], 6), scale(&["1.0008025", "2.5"], 9)), (2, 2, 7));
        assert_eq!((scale(&["0.000000001"], 6), scale(&["0.000000000000000001"], 18)), (6, 18));
    }

    #[test]
    fn what_is_left_is_rounded_half_up() {
        for (text, places, shown) in [
            ("0.005", 2, "0.01"),
            ("0.0049999", 2, "0.00"),
            ("9.995", 2, "10.00"),
            ("1234567.5", 2, "1234567.50"),
            ("0.000000000000000001", 18, "0.000000000000000001"),
            ("0.0000005", 6, "0.000001"),
        ] {
            assert_eq!(money(amount(text), places), shown, "{text}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        for (text, shown) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1\u{202f}000"),
            ("1234567.12345", "1\u{202f}234\u{202f}567.12345"),
        ] {
            assert_eq!(grouped(text), shown);
        }
    }
}
