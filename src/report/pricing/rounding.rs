//! From exact amounts to amounts that can be paid.
//!
//! A total is rounded to the minor unit of its currency, halves up as merchants do. Its lines are cut to whole minor
//! units, and what is then missing goes, one unit each, to the lines that lost most, the earlier of two that lost as
//! much. So lines add up to their total, and none is off by a whole unit.

use std::cmp::Reverse;

use super::amount::{Amount, PLACES};
use super::currency::Currency;

/// The amounts of an invoice's lines, which add up to the rounded total.
pub fn invoice_lines(exact: &[Amount], currency: Currency) -> Vec<Amount> {
    let unit = minor_unit(currency);
    let total = round(exact.iter().copied().sum(), currency).whole() / unit;
    let mut lines: Vec<u128> = exact.iter().map(|amount| amount.whole() / unit).collect();
    let lost: Vec<Amount> = exact.iter().zip(&lines).map(|(amount, kept)| amount.less(kept * unit)).collect();
    let missing = total.saturating_sub(lines.iter().sum());
    give(&mut lines, &lost, missing);
    lines.into_iter().map(|line| Amount::of(line * unit)).collect()
}

/// An amount in whole minor units, halves up.
fn round(amount: Amount, currency: Currency) -> Amount {
    let unit = minor_unit(currency);
    Amount::of((amount.whole() + unit / 2) / unit * unit)
}

/// Cuts a whole into shares by weights: of whole numbers, which add up to it. Nothing is handed out if nothing weighs.
pub(crate) fn shares(whole: u128, weights: &[u128]) -> Vec<u128> {
    let weights = fitting(whole, weights);
    let sum: u128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut shares: Vec<u128> = weights.iter().map(|weight| whole * weight / sum).collect();
    let lost: Vec<u128> = weights.iter().map(|weight| whole * weight % sum).collect();
    let missing = whole - shares.iter().sum::<u128>();
    give(&mut shares, &lost, missing);
    shares
}

/// 10^-18 in a minor unit.
fn minor_unit(currency: Currency) -> u128 {
    10_u128.pow(PLACES.saturating_sub(currency.minor_places))
}

/// Gives one each to those that lost most.
fn give<L: Ord>(lines: &mut [u128], lost: &[L], missing: u128) {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|at| Reverse(lost.get(*at)));
    for at in order.into_iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        if let Some(line) = lines.get_mut(at) {
            *line += 1;
        }
    }
}

/// The weights, made smaller by the same power of two until their products with the whole fit.
fn fitting(whole: u128, weights: &[u128]) -> Vec<u128> {
    let mut weights = weights.to_vec();
    loop {
        let sum = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight));
        if sum.and_then(|sum| sum.checked_mul(whole.max(1))).is_some() {
            return weights;
        }
        weights.iter_mut().for_each(|weight| *weight /= 2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CENT: u128 = 10_u128.pow(16);

    proptest! {
        #[test]
        fn lines_add_up_to_their_rounded_total_and_none_is_off_by_a_unit(
            exact in prop::collection::vec(0..10_u128.pow(24), 0..40),
            code in prop::sample::select(vec!["EUR", "JPY", "KWD"]),
        ) {
            let currency = Currency::of(code).unwrap();
            let unit = minor_unit(currency);
            let exact: Vec<Amount> = exact.into_iter().map(Amount::of).collect();
            let lines = invoice_lines(&exact, currency);
            let total: Amount = exact.iter().copied().sum();
            prop_assert_eq!(lines.iter().copied().sum::<Amount>(), round(total, currency));
            prop_assert!(total.whole().abs_diff(round(total, currency).whole()) * 2 <= unit);
            for (line, exact) in lines.iter().zip(&exact) {
                prop_assert!(line.whole() % unit == 0 && line.whole().abs_diff(exact.whole()) < unit);
            }
        }

        #[test]
        fn shares_add_up_to_the_whole(
            whole in 0..10_u128.pow(15),
            weights in prop::collection::vec(prop_oneof![Just(0), 0..1000_u128, 0..u128::MAX / 64], 1..40),
        ) {
            let shares = shares(whole, &weights);
            let weighs = weights.iter().any(|weight| *weight > 0);
            prop_assert_eq!(shares.iter().sum::<u128>(), if weighs { whole } else { 0 });
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!(*weight > 0 || *share == 0);
            }
        }
    }

    #[test]
    fn halves_go_up_and_the_line_that_lost_most_is_made_whole() {
        let eur = Currency::of("EUR").unwrap();
        assert_eq!(round(Amount::of(CENT / 2), eur), Amount::of(CENT));
        assert_eq!(round(Amount::of(CENT / 2 - 1), eur), Amount::of(0));
        let lines = invoice_lines(&[CENT / 3, CENT / 3, CENT / 3 + 2].map(Amount::of), eur);
        assert_eq!(lines, [0, 0, CENT].map(Amount::of));
        let tied = invoice_lines(&[CENT / 2, CENT / 2].map(Amount::of), eur);
        assert_eq!(tied, [CENT, 0].map(Amount::of));
        assert_eq!(shares(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(shares(100, &[0, 0]), [0, 0]);
    }
}
