//! The calls that are not whole yet, within a bound on memory.

use std::collections::{BTreeMap, HashMap};

use smol_str::SmolStr;

use super::call_parts::{CallParts, SIDES};
use super::stored_part::StoredPart;
use crate::report::error::{InputBound, ReportError};

/// Bytes of parts that are held. Twenty calls of 32 MiB are open at once, or a thousand of the usual length.
const HELD_BYTES_MAX: usize = 512 << 20;

/// Calls that one run may read, at some 100 bytes each that stay.
const CALLS_MAX: usize = 5_000_000;

/// The ledger whose call it is, and the call.
type CallKey = (SmolStr, SmolStr);

/// Calls whose parts come in.
#[derive(Default)]
pub(super) struct HeldCalls {
    open: BTreeMap<CallKey, CallParts>,
    /// Calls that were given, with the number of parts that there were of each side.
    given: HashMap<CallKey, [u64; SIDES]>,
    bytes: usize,
    /// Parts that came after their call had been given.
    pub(super) late: u64,
}

impl HeldCalls {
    /// Takes a part, and gives the calls that are done with it.
    ///
    /// # Errors
    /// If more would be held than fits.
    pub(super) fn add(
        &mut self,
        part: StoredPart,
        place: &dyn std::fmt::Display,
    ) -> Result<Vec<CallParts>, ReportError> {
        let facts = &part.part.facts;
        let key = (part.source.clone(), facts.call.clone());
        if let Some(counts) = self.given.get(&key) {
            // Delivery is at least once: a part that was there is no news.
            self.late += u64::from(facts.part >= counts[facts.side as usize]);
            return Ok(Vec::new());
        }
        let call = self.open.entry(key.clone()).or_default();
        let before = call.bytes;
        call.add(part);
        self.bytes += call.bytes - before;
        if call.is_whole() {
            return Ok(self.give(&key).into_iter().collect());
        }
        let bound = if self.bytes > HELD_BYTES_MAX {
            InputBound::OpenParts(HELD_BYTES_MAX)
        } else {
            return self.bounded(place);
        };
        let done = self.give_all(CallParts::seems_whole);
        if self.bytes > HELD_BYTES_MAX {
            return Err(ReportError::Unbounded { bound, place: place.to_string() });
        }
        Ok(done)
    }

    /// Gives what is left, in the order in which the calls began.
    pub(super) fn rest(&mut self) -> Vec<CallParts> {
        self.give_all(|_| true)
    }

    fn bounded(&self, place: &dyn std::fmt::Display) -> Result<Vec<CallParts>, ReportError> {
        if self.open.len() + self.given.len() <= CALLS_MAX {
            return Ok(Vec::new());
        }
        Err(ReportError::Unbounded { bound: InputBound::Calls(CALLS_MAX), place: place.to_string() })
    }

    fn give_all(&mut self, is_done: impl Fn(&CallParts) -> bool) -> Vec<CallParts> {
        let mut keys: Vec<CallKey> =
            self.open.iter().filter(|(_, call)| is_done(call)).map(|(key, _)| key.clone()).collect();
        // Ids of calls begin with their time.
        keys.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        keys.iter().filter_map(|key| self.give(key)).collect()
    }

    fn give(&mut self, key: &CallKey) -> Option<CallParts> {
        let call = self.open.remove(key)?;
        self.bytes -= call.bytes;
        self.given.insert(key.clone(), call.counts());
        Some(call)
    }
}
