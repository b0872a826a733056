//! The parts of one side of a call, put together.

use metering::usage::ContentSide;

use super::part_record::PartRecord;
use crate::report::verify::sequences::gaps_among;

/// One side, as its parts show it.
#[derive(Debug, Default)]
pub(super) struct SideParts {
    pub(super) parts: u64,
    pub(super) bytes: u64,
    /// Runs of numbers that are not there, before one that is.
    pub(super) holes: Vec<(u64, u64)>,
    pub(super) has_last: bool,
    pub(super) is_truncated: bool,
    /// Parts behind the one that says it is the last.
    pub(super) beyond_last: u64,
    /// Numbers under which two bodies stand.
    pub(super) altered: Vec<u64>,
    /// The number after the last one that is there.
    pub(super) next: u64,
}

impl SideParts {
    /// Adds up the parts of a side, which are those of one call in the order of side and number.
    pub(super) fn of(side: ContentSide, parts: &[PartRecord]) -> SideParts {
        let own = || parts.iter().filter(|part| part.key.side == side);
        let mut found = SideParts::default();
        let Some(end) = own().next_back() else { return found };
        found.next = end.key.part.saturating_add(1);
        found.holes = gaps_among(numbers(own()), 0, end.key.part).collect();
        let mut before = None;
        for part in own() {
            if before == Some(part.key.part) {
                if found.altered.last() != before.as_ref() {
                    found.altered.push(part.key.part);
                }
                continue;
            }
            found.beyond_last += u64::from(found.has_last);
            before = Some(part.key.part);
            found.parts += 1;
            found.bytes = found.bytes.saturating_add(part.bytes_raw);
            found.has_last |= part.is_last;
            found.is_truncated |= part.is_truncated;
        }
        found
    }
}

/// The numbers, each once.
fn numbers<'a>(parts: impl Iterator<Item = &'a PartRecord>) -> impl Iterator<Item = u64> {
    let mut before = None;
    parts.map(|part| part.key.part).filter(move |number| before.replace(*number) != Some(*number))
}
