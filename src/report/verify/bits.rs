//! A set of sequences: one bit each, however many there are.
//!
//! Sequences run from 1 without gaps, so nearly every bit of a block is used. A number far off, from
//! an event that somebody mangled, costs one block and no more.

use std::collections::BTreeMap;

/// Words of one block: 4,096 sequences in 512 bytes, what one mangled number may cost.
const WORDS: usize = 64;
const BLOCK: u64 = WORDS as u64 * 64;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Bits {
    blocks: BTreeMap<u64, Box<[u64; WORDS]>>,
    count: u64,
}

/// Where a number lies: block, word, bit.
fn place(number: u64) -> (u64, usize, u64) {
    let within = number % BLOCK;
    (number / BLOCK, usize::try_from(within / 64).unwrap_or(0), 1 << (within % 64))
}

impl Bits {
    /// Adds a number. Returns whether it is new.
    pub(super) fn set(&mut self, number: u64) -> bool {
        let (block, word, bit) = place(number);
        let words = self.blocks.entry(block).or_insert_with(|| Box::new([0; WORDS]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        self.count += u64::from(new);
        new
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let (block, word, bit) = place(number);
        self.blocks.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.next(0)
    }

    pub(super) fn last(&self) -> Option<u64> {
        let (block, words) = self.blocks.iter().next_back()?;
        let word = words.iter().rposition(|word| *word != 0)?;
        Some(block * BLOCK + word as u64 * 64 + u64::from(63 - words[word].leading_zeros()))
    }

    /// The smallest number of the set that is `from` or more.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        let (block, word, bit) = place(from);
        for (&number, words) in self.blocks.range(block..) {
            let begin = if number == block { word } else { 0 };
            for (index, &bits) in words.iter().enumerate().skip(begin) {
                let bits = if number == block && index == word { bits & !(bit - 1) } else { bits };
                if bits != 0 {
                    return Some(number * BLOCK + index as u64 * 64 + u64::from(bits.trailing_zeros()));
                }
            }
        }
        None
    }

    /// The smallest number that is `from` or more and not of the set.
    fn next_free(&self, from: u64) -> u64 {
        let (mut block, mut word, bit) = place(from);
        let mut below = bit - 1;
        while let Some(words) = self.blocks.get(&block) {
            for (index, &bits) in words.iter().enumerate().skip(word) {
                let free = !bits & !std::mem::take(&mut below);
                if free != 0 {
                    return block * BLOCK + index as u64 * 64 + u64::from(free.trailing_zeros());
                }
            }
            (block, word) = (block + 1, 0);
        }
        block * BLOCK + word as u64 * 64 + u64::from((!below).trailing_zeros())
    }

    /// Runs of numbers from `from` to `to`, both included, that are not of the set.
    pub(super) fn gaps(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = from;
        std::iter::from_fn(move || {
            let first = (at <= to).then(|| self.next_free(at)).filter(|first| *first <= to)?;
            let last = self.next(first).map_or(to, |next| (next - 1).min(to));
            // `to` is never the largest number there is: see `SEQUENCE_MAX` of `event`.
            at = last + 1;
            Some((first, last))
        })
    }

    /// Runs of numbers of the set, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.next(at)?;
            at = self.next_free(first);
            Some((first, at - 1))
        })
    }

    /// Whether any number from `from` to `to`, both included, is of the set.
    pub(super) fn any(&self, from: u64, to: u64) -> bool {
        self.next(from).is_some_and(|next| next <= to)
    }
}

/// How many numbers the runs hold.
pub(super) fn length(runs: impl Iterator<Item = (u64, u64)>) -> u64 {
    runs.fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_bits_is_a_set(
            numbers in prop::collection::vec(prop_oneof![4 => 0..300_u64, 2 => 4_000..4_400_u64, 1 => 12_000..12_100_u64], 0..400),
            from in 0..5_000_u64, length_of in 0..14_000_u64,
        ) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for &number in &numbers {
                prop_assert_eq!(bits.set(number), model.insert(number));
            }
            prop_assert_eq!(bits.count(), model.len() as u64);
            prop_assert_eq!((bits.first(), bits.last()), (model.first().copied(), model.last().copied()));
            prop_assert_eq!(bits.next(from), model.range(from..).next().copied());
            prop_assert_eq!(bits.contains(from), model.contains(&from));
            let to = from + length_of;
            let gaps: Vec<u64> = bits.gaps(from, to).flat_map(|(first, last)| first..=last).collect();
            let model_gaps: Vec<u64> = (from..=to).filter(|number| !model.contains(number)).collect();
            prop_assert_eq!(gaps, model_gaps);
            let runs: Vec<(u64, u64)> = bits.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "runs are whole");
            prop_assert!(runs.into_iter().flat_map(|(first, last)| first..=last).eq(model.iter().copied()));
            prop_assert_eq!(bits.any(from, to), model.range(from..=to).next().is_some());
        }
    }

    #[test]
    fn a_number_far_off_costs_one_block() {
        let mut bits = Bits::default();
        bits.set(1);
        bits.set(1 << 60);
        assert_eq!(bits.blocks.len(), 2);
        assert_eq!(bits.gaps(1, 1 << 60).collect::<Vec<_>>(), [(2, (1 << 60) - 1)]);
        assert_eq!(length(bits.gaps(0, 0)), 1);
    }
}
