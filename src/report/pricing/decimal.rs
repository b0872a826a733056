//! Decimal numbers as people write them, read exactly.

use super::amount::PLACES;

/// A decimal number in 10^-18; `None` if it is not digits with at most one point, or longer than allowed.
pub(super) fn decimal(text: &str, digits_max: usize, places_max: usize) -> Option<u128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = (PLACES as usize).checked_sub(places.len())?;
    let fits = places.len() <= places_max && !whole.is_empty() && whole.len() <= digits_max;
    let mantissa = (fits && digits(whole) && digits(places)).then(|| format!("{whole}{places}"))?;
    mantissa.parse::<u128>().ok()?.checked_mul(10_u128.pow(u32::try_from(rest).ok()?))
}
