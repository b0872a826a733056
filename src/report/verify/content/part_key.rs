//! The side and the number of a part within its call, from its id.

use metering::usage::{ContentSide, PartFacts};
use strum::VariantArray;
use uuid::Uuid;

/// A part's place: its call, side and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartKey {
    pub(super) call: Uuid,
    pub(super) side: ContentSide,
    pub(super) part: u64,
}

impl PartKey {
    /// The place that an id names, else the one that the part says: somebody may have altered either.
    pub(super) fn of(id: &str, facts: &PartFacts) -> Option<PartKey> {
        let said = || Some(PartKey { call: facts.call.parse().ok()?, side: facts.side, part: facts.part });
        PartKey::of_id(id).or_else(said)
    }

    fn of_id(id: &str) -> Option<PartKey> {
        let mut words = id.split('.');
        let (call, side, part) = (words.next()?, words.next()?, words.next()?);
        let side = ContentSide::VARIANTS.iter().copied().find(|known| known.as_str() == side)?;
        words.next().is_none().then_some(())?;
        Some(PartKey { call: call.parse().ok()?, side, part: part.parse().ok()? })
    }
}
