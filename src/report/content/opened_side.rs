//! One side of a call, opened: a prefix of what passed, and what is wrong with the rest.

use metering::usage::{ContentSide, PartFacts, part_id};

use super::call_parts::{CallParts, SideParts};
use super::stored_part::StoredPart;
use crate::capture::seal::{Unwrap, open};

/// Bytes of one side that are held: more than the longest that is captured by a sane setting.
const SIDE_BYTES_MAX: usize = 512 << 20;

/// One side, opened.
#[derive(Debug)]
pub(super) struct OpenedSide {
    pub(super) side: ContentSide,
    /// The facts of its first part.
    pub(super) first: PartFacts,
    /// The facts of its last part, if that is in the prefix.
    pub(super) last: Option<PartFacts>,
    /// The bytes, as they passed, up to the first part that is missing or cannot be opened.
    pub(super) bytes: Vec<u8>,
    /// Parts in them.
    pub(super) parts: u64,
    /// The content was not sealed.
    pub(super) is_cleartext: bool,
    /// Numbers of parts that are not there: first and last of each run.
    pub(super) missing: Vec<(u64, u64)>,
    /// Parts that cannot be opened, or are not what they were.
    pub(super) faults: Vec<PartFault>,
    /// Parts behind the prefix that could be opened.
    pub(super) beyond: Vec<(u64, Vec<u8>)>,
}

/// A fault of a part.
#[derive(Debug)]
pub(super) struct PartFault {
    pub(super) id: String,
    pub(super) fault: String,
    /// It is not what it was.
    pub(super) is_alteration: bool,
}

impl OpenedSide {
    /// Opens the parts of a side; `None` if there are none.
    pub(super) fn of(call: &CallParts, side: ContentSide, unwrap: &mut dyn Unwrap) -> Option<OpenedSide> {
        let parts = call.side(side);
        let first = parts.numbered().next().and_then(|(_, parts)| parts.first())?;
        let mut opened = OpenedSide {
            side,
            first: first.part.facts.clone(),
            last: None,
            bytes: Vec::new(),
            parts: 0,
            is_cleartext: false,
            missing: Vec::new(),
            faults: Vec::new(),
            beyond: Vec::new(),
        };
        opened.open(parts, unwrap);
        Some(opened)
    }

    /// Everything that was kept of it is in `bytes`.
    pub(super) fn is_whole(&self) -> bool {
        self.last.is_some() && self.missing.is_empty() && self.faults.is_empty()
    }

    /// More passed than was kept.
    pub(super) fn is_truncated(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.truncated)
    }

    /// The fault, for people.
    pub(super) fn problems(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|run| format!("part {} is missing", shown(run)));
        let faults = self.faults.iter().map(|fault| format!("{}: {}", fault.id, fault.fault));
        let no_end = self.last.is_none() && self.missing.is_empty() && self.faults.is_empty();
        let no_end =
            no_end.then(|| "its last part is missing: the call goes on, or the sidecar died".to_owned());
        missing.chain(faults).chain(no_end).collect()
    }

    fn open(&mut self, parts: &SideParts, unwrap: &mut dyn Unwrap) {
        let (mut next, mut is_prefix) = (0, true);
        for (number, same) in parts.numbered() {
            if number > next {
                self.missing.push((next, number - 1));
                is_prefix = false;
            }
            next = number.saturating_add(1);
            match self.open_one(same, unwrap) {
                Some((facts, bytes)) if is_prefix => {
                    self.bytes.extend_from_slice(&bytes);
                    self.parts += 1;
                    self.last = facts.last.then_some(facts);
                    // Nothing can follow the last part.
                    is_prefix = self.last.is_none();
                }
                Some((_, bytes)) => self.beyond.push((number, bytes)),
                None => is_prefix = false,
            }
        }
    }

    /// The first of those that claim to be one part that can be opened; of the others it is said why not.
    fn open_one(&mut self, same: &[StoredPart], unwrap: &mut dyn Unwrap) -> Option<(PartFacts, Vec<u8>)> {
        let mut found: Option<(PartFacts, Vec<u8>)> = None;
        for stored in same {
            let facts = &stored.part.facts;
            let fault = match self.open_stored(stored, unwrap) {
                Err(fault) => fault,
                Ok(bytes) => match &found {
                    None => {
                        self.is_cleartext |= stored.part.cleartext.is_some();
                        found = Some((facts.clone(), bytes));
                        continue;
                    }
                    // Sealed anew, as no sidecar does it, or of a file that was put together from two.
                    Some(known) if known.0 == *facts && known.1 == bytes => continue,
                    Some(_) => ("there is another part with its id, and other content".to_owned(), true),
                },
            };
            let id = part_id(&facts.call, facts.side, facts.part);
            self.faults.push(PartFault { id, fault: fault.0, is_alteration: fault.1 });
        }
        found
    }

    fn open_stored(&self, stored: &StoredPart, unwrap: &mut dyn Unwrap) -> Result<Vec<u8>, (String, bool)> {
        let opened = open(&stored.part, &stored.id, unwrap);
        let bytes = opened.map_err(|error| (error.to_string(), error.is_alteration()))?;
        let held = self.bytes.len() + self.beyond.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        if held + bytes.len() > SIDE_BYTES_MAX {
            return Err((
                format!("this side has more than {SIDE_BYTES_MAX} bytes, which are not held"),
                false,
            ));
        }
        Ok(bytes)
    }
}

/// A run of numbers, for people.
pub(super) fn shown((first, last): &(u64, u64)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
