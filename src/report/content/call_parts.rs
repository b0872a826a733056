//! The parts of one call, as they come in from anywhere, in any order, and more than once.

use std::collections::BTreeMap;

use metering::usage::ContentSide;
use strum::VariantArray;

use super::stored_part::StoredPart;

/// Sides of a call.
pub(super) const SIDES: usize = ContentSide::VARIANTS.len();

/// The parts of a call.
#[derive(Debug, Default)]
pub(super) struct CallParts {
    sides: [SideParts; SIDES],
    /// Bytes of their events.
    pub(super) bytes: usize,
}

/// The parts of one side by their numbers. Whoever can write to the topic can write a part that is another's, so all
/// that claim to be one are kept.
#[derive(Debug, Default)]
pub(super) struct SideParts {
    by_number: BTreeMap<u64, Vec<StoredPart>>,
    last: Option<u64>,
}

impl CallParts {
    /// Adds a part, unless it is there already.
    pub(super) fn add(&mut self, part: StoredPart) {
        let side = &mut self.sides[part.part.facts.side as usize];
        let (number, last, bytes) = (part.part.facts.part, part.part.facts.last, part.bytes);
        let same = side.by_number.entry(number).or_default();
        if same.iter().any(|known| known.id == part.id && known.part == part.part) {
            return;
        }
        same.push(part);
        if last {
            side.last = Some(number);
        }
        self.bytes += bytes;
    }

    /// Both sides are whole.
    pub(super) fn is_whole(&self) -> bool {
        self.sides.iter().all(SideParts::is_whole)
    }

    /// Every side is whole of which there is anything: the other one may not have been captured.
    pub(super) fn seems_whole(&self) -> bool {
        self.sides.iter().all(|side| side.by_number.is_empty() || side.is_whole())
    }

    pub(super) fn side(&self, side: ContentSide) -> &SideParts {
        &self.sides[side as usize]
    }

    /// One of its parts.
    pub(super) fn any(&self) -> Option<&StoredPart> {
        self.sides.iter().find_map(|side| side.by_number.values().flatten().next())
    }

    /// How many numbers of parts there are on each side.
    pub(super) fn counts(&self) -> [u64; SIDES] {
        [&self.sides[0], &self.sides[1]].map(|side| side.by_number.len() as u64)
    }
}

impl SideParts {
    /// Its last part is there, and every one before.
    fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| last.checked_add(1) == Some(self.by_number.len() as u64))
    }

    /// The parts by their numbers; of some there may be more than one.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &[StoredPart])> {
        self.by_number.iter().map(|(number, parts)| (*number, parts.as_slice()))
    }
}
