//! The sequence numbers of a boot that were seen, each with a fingerprint of its event: four and a half bytes a number.
//!
//! A ledger numbers its events from 1 without a gap, so the numbers lie in blocks that are full. A block that is not,
//! at the end of a boot or because somebody wrote a number far off, holds its few numbers one by one.

use std::collections::BTreeMap;
use std::iter;

/// Numbers of a block.
const BLOCK: usize = 1024;

/// Numbers for which one span of time is kept.
const SPAN: usize = 128;

/// Numbers of a block beyond which it is held whole. Until then it takes less room one by one.
pub(super) const FEW_MAX: usize = 256;

/// No fingerprint: the number was not seen.
const UNSEEN: u32 = 0;

/// Tells whether a number was there before the event that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    First,
    /// The same event was there before.
    Again,
    /// Another event with this number was there before.
    Other,
}

/// From when to when some events happened, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeWindow {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// The numbers that were seen.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    blocks: BTreeMap<u64, Block>,
    length: u64,
}

#[derive(Debug)]
enum Block {
    Few(Vec<(u16, u32)>, TimeWindow),
    Whole(Box<WholeBlock>),
}

#[derive(Debug)]
struct WholeBlock {
    prints: [u32; BLOCK],
    windows: [TimeWindow; BLOCK / SPAN],
}

impl TimeWindow {
    /// No event happened.
    const NEVER: TimeWindow = TimeWindow { from_ms: i64::MAX, to_ms: i64::MIN };

    fn add(&mut self, time_ms: i64) {
        self.from_ms = self.from_ms.min(time_ms);
        self.to_ms = self.to_ms.max(time_ms);
    }
}

impl Numbers {
    /// Takes the number of an event, what stands for the event itself, and its time.
    pub(super) fn note(&mut self, number: u64, print: u32, time_ms: i64) -> Sight {
        // One print in four thousand million is that of another one.
        let print = if print == UNSEEN { !UNSEEN } else { print };
        let block =
            self.blocks.entry(number / BLOCK as u64).or_insert(Block::Few(Vec::new(), TimeWindow::NEVER));
        let sight = block.note((number % BLOCK as u64) as u16, print, time_ms);
        self.length += u64::from(sight == Sight::First);
        sight
    }

    /// How many there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Blocks of numbers. One that is held whole takes 5 KiB, another one some 130 bytes and 8 for each number.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<u64> {
        let (at, block) = self.blocks.iter().next_back()?;
        block.numbers().last().map(|number| at * BLOCK as u64 + u64::from(number))
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let blocks = self.blocks.iter();
        blocks
            .flat_map(|(at, block)| block.numbers().map(move |number| at * BLOCK as u64 + u64::from(number)))
    }

    /// How many are less than this one.
    pub(super) fn below(&self, number: u64) -> u64 {
        self.iter().take_while(|seen| *seen < number).count() as u64
    }

    /// When the events around a number that was seen happened.
    pub(super) fn window(&self, number: u64) -> Option<TimeWindow> {
        match self.blocks.get(&(number / BLOCK as u64))? {
            Block::Few(_, window) => Some(*window),
            Block::Whole(block) => Some(block.windows[(number % BLOCK as u64) as usize / SPAN]),
        }
    }
}

impl Block {
    fn note(&mut self, number: u16, print: u32, time_ms: i64) -> Sight {
        match self {
            Block::Whole(block) => block.note(number, print, time_ms),
            Block::Few(few, window) => {
                // Most come in order, so the place is the end.
                let at = few.partition_point(|(seen, _)| *seen < number);
                if let Some((_, seen)) = few.get(at).filter(|(seen, _)| *seen == number) {
                    return sight_of(*seen, print);
                }
                if few.len() < FEW_MAX {
                    few.insert(at, (number, print));
                    window.add(time_ms);
                    return Sight::First;
                }
                let mut whole = WholeBlock::of(few, *window);
                let sight = whole.note(number, print, time_ms);
                *self = Block::Whole(whole);
                sight
            }
        }
    }

    fn numbers(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Block::Few(few, _) => Box::new(few.iter().map(|(number, _)| *number)),
            Block::Whole(block) => {
                let prints = iter::zip(0_u16.., &block.prints);
                Box::new(prints.filter(|(_, print)| **print != UNSEEN).map(|(number, _)| number))
            }
        }
    }
}

impl WholeBlock {
    /// The few whose times are known together keep that time, each in its span.
    fn of(few: &[(u16, u32)], window: TimeWindow) -> Box<WholeBlock> {
        let mut block = WholeBlock { prints: [UNSEEN; BLOCK], windows: [TimeWindow::NEVER; BLOCK / SPAN] };
        for (number, print) in few {
            block.prints[usize::from(*number)] = *print;
            block.windows[usize::from(*number) / SPAN] = window;
        }
        Box::new(block)
    }

    fn note(&mut self, number: u16, print: u32, time_ms: i64) -> Sight {
        let number = usize::from(number);
        let seen = &mut self.prints[number];
        if *seen != UNSEEN {
            return sight_of(*seen, print);
        }
        *seen = print;
        self.windows[number / SPAN].add(time_ms);
        Sight::First
    }
}

fn sight_of(seen: u32, print: u32) -> Sight {
    if seen == print { Sight::Again } else { Sight::Other }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, btree_map};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// They are the same as a map, whatever numbers come in whatever order, and the windows hold their events.
        #[test]
        fn numbers_are_those_of_a_map(
            seen in prop::collection::vec((prop_oneof![
                6 => 1..2_200_u64, 1 => (1_u64 << 32) - 5..(1 << 32) + 5, 1 => (1_u64 << 62) - 3..1 << 62
            ], 0..3_u32, 0..1_000_i64), 0..2_500)
        ) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeMap::new());
            for (number, print, time) in &seen {
                let expected = match model.entry(*number) {
                    btree_map::Entry::Vacant(entry) => {
                        entry.insert((*print, *time));
                        Sight::First
                    }
                    btree_map::Entry::Occupied(entry) if entry.get().0 == *print => Sight::Again,
                    btree_map::Entry::Occupied(_) => Sight::Other,
                };
                prop_assert_eq!(numbers.note(*number, *print, *time), expected);
            }
            prop_assert!(numbers.iter().eq(model.keys().copied()));
            prop_assert_eq!(numbers.length(), model.len() as u64);
            prop_assert_eq!(numbers.last(), model.keys().next_back().copied());
            prop_assert_eq!(numbers.below(1_000), model.range(..1_000).count() as u64);
            for (number, (_, time)) in &model {
                let window = numbers.window(*number).unwrap();
                prop_assert!((window.from_ms..=window.to_ms).contains(time), "{} {:?}", number, window);
            }
        }
    }

    #[test]
    fn a_number_takes_less_than_five_bytes() {
        let block = size_of::<WholeBlock>() + size_of::<(u64, Block)>() * 2;
        assert!(block * 10 < BLOCK * 45, "{block} bytes for {BLOCK} numbers");
    }
}
