//! Runs of sequences that are in a set, and of those that are missing from it.
//!
//! Sequences run from 1 without gaps, so nearly every bit of a roaring bitmap is used. A number far off, from
//! an event that was mangled, costs a few bytes.

use roaring::RoaringTreemap;

/// Runs of numbers from `from` to `to`, both included, that are not of the set.
pub(super) fn gaps(set: &RoaringTreemap, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
    let mut numbers = set.iter();
    numbers.advance_to(from);
    gaps_among(numbers, from, to)
}

/// Runs of numbers from `from` to `to`, both included, that are not among those, which are in order and not less than
/// `from`.
pub(crate) fn gaps_among(
    numbers: impl Iterator<Item = u64>,
    from: u64,
    to: u64,
) -> impl Iterator<Item = (u64, u64)> {
    let mut next = from;
    let end = std::iter::once(to.saturating_add(1));
    numbers.take_while(move |number| *number <= to).chain(end).filter_map(move |number| {
        let gap = (next < number).then(|| (next, number - 1));
        next = number.saturating_add(1);
        gap
    })
}

/// Runs of numbers of the set, in order.
pub(super) fn runs(set: &RoaringTreemap) -> impl Iterator<Item = (u64, u64)> + '_ {
    let mut numbers = set.iter().peekable();
    std::iter::from_fn(move || {
        let first = numbers.next()?;
        let mut last = first;
        while let Some(next) = numbers.next_if_eq(&last.saturating_add(1)) {
            last = next;
        }
        Some((first, last))
    })
}

/// Whether any number from `from` to `to`, both included, is of the set.
pub(super) fn any_within(set: &RoaringTreemap, from: u64, to: u64) -> bool {
    set.range_cardinality(from..=to) > 0
}

/// How many numbers the runs hold.
pub(super) fn length(runs: impl Iterator<Item = (u64, u64)>) -> u64 {
    runs.fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1))
}

/// `7` or `7 to 9`.
pub(super) fn run_text(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_and_gaps_are_those_of_a_set(
            numbers in prop::collection::vec(prop_oneof![4 => 0..300_u64, 2 => 65_400..65_800_u64, 1 => (1_u64 << 32) - 50..(1 << 32) + 50], 0..400),
            around in prop_oneof![Just(0_u64), Just(65_500), Just((1 << 32) - 60)], offset in 0..200_u64, span in 0..500_u64,
        ) {
            let (set, model): (RoaringTreemap, BTreeSet<u64>) = (numbers.iter().copied().collect(), numbers.iter().copied().collect());
            let (from, to) = (around + offset, around + offset + span);
            let listed: Vec<u64> = gaps(&set, from, to).flat_map(|(first, last)| first..=last).collect();
            let missing: Vec<u64> = (from..=to).filter(|number| !model.contains(number)).collect();
            prop_assert_eq!(&listed, &missing);
            prop_assert_eq!(set.contains_range(from..=to), missing.is_empty());
            prop_assert_eq!(any_within(&set, from, to), model.range(from..=to).next().is_some());
            let runs: Vec<(u64, u64)> = runs(&set).collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "runs are whole");
            prop_assert!(runs.into_iter().flat_map(|(first, last)| first..=last).eq(model.iter().copied()));
        }
    }

    #[test]
    fn a_number_far_off_costs_little() {
        let set: RoaringTreemap = [1, 1 << 60].into_iter().collect();
        assert!(set.serialized_size() < 64);
        assert_eq!(gaps(&set, 1, 1 << 60).collect::<Vec<_>>(), [(2, (1 << 60) - 1)]);
        assert_eq!(gaps(&set, 2, 1).next(), None);
        assert_eq!(gaps(&set, 1 << 61, u64::MAX).collect::<Vec<_>>(), [(1 << 61, u64::MAX - 1)]);
        assert_eq!(length(gaps(&set, 0, 0)), 1);
    }
}
