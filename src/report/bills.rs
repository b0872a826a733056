//! Bills that more than one ledger has seen: the first one stands.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

use super::boot_names::BootNames;
use super::usage_event::UsageEvent;
use metering::usage::StoredUsage;

/// Bills that are remembered to be told apart: some 24 bytes each, 400 MB. A later one counts as it comes.
const BILLS_MAX: usize = 16_000_000;

/// The bills that were met so far, each as 128 bits.
#[derive(Debug, Default)]
pub(super) struct BillsSeen {
    seen: HashSet<u128>,
    /// The first of each bill, where that was looked for: when, and by which ledger. Some 40 bytes each.
    first: HashMap<u128, (Timestamp, u32)>,
    sources: BootNames,
    source_names: Vec<String>,
    hashers: [RandomState; 2],
    /// Bills that were met before.
    pub(super) repeats: u64,
    /// Bills that were not remembered.
    pub(super) unknown: u64,
}

impl BillsSeen {
    /// Looks for the first of each bill, the one that counts in whatever order they come: the earliest, and of two
    /// at once that of the ledger whose name is the smaller. A later one beyond the bound counts as it comes.
    pub(super) fn look_for_first(&mut self, event: &UsageEvent) {
        let Some(key) = self.key(&event.usage) else { return };
        let Some(source) = self.source(&event.source) else { return };
        let is_full = self.first.len() >= BILLS_MAX;
        let names = &self.source_names;
        let order = |(time, source): (Timestamp, u32)| (time, names.get(source as usize));
        match self.first.entry(key) {
            Entry::Occupied(mut first) if order((event.time, source)) < order(*first.get()) => {
                first.insert((event.time, source));
            }
            Entry::Vacant(first) if !is_full => {
                first.insert((event.time, source));
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
    }

    /// The number of a ledger; `None`: there are too many, and adding them up will say so.
    fn source(&mut self, name: &str) -> Option<u32> {
        let number = self.sources.number(name, "");
        if number == self.source_names.len() && !self.sources.is_over() {
            self.source_names.push(name.to_owned());
        }
        u32::try_from(number).ok().filter(|_| number < self.source_names.len())
    }

    /// The event is a bill, and another one of the same work counts.
    pub(super) fn is_repeat(&mut self, event: &UsageEvent) -> bool {
        let first = self.key(&event.usage).and_then(|key| self.first.get(&key));
        let Some((time, source)) = first else { return self.repeats(&event.usage) };
        let source = self.source_names.get(*source as usize);
        let is_repeat = (*time, source.map(String::as_str)) != (event.time, Some(event.source.as_str()));
        self.repeats += u64::from(is_repeat);
        is_repeat
    }

    /// Returns a mark of the work that is billed; `None`: it is no bill.
    fn key(&self, usage: &StoredUsage) -> Option<u128> {
        let work = usage.bill_of()?;
        let [low, high] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(work)));
        Some(high << 64 | low)
    }

    /// The usage is a bill that was met before.
    pub(super) fn repeats(&mut self, usage: &StoredUsage) -> bool {
        let Some(key) = self.key(usage) else { return false };
        if self.seen.contains(&key) {
            self.repeats += 1;
            return true;
        }
        if self.seen.len() < BILLS_MAX {
            self.seen.insert(key);
        } else {
            self.unknown += u64::from(usage.accounting.deferred);
        }
        false
    }
}

/// Says how many bills were left out; `None`: none was.
pub(super) fn repeats_text(repeats: u64) -> Option<String> {
    match repeats {
        0 => None,
        1 => Some("1 bill was seen by more than one ledger: it counts once".to_owned()),
        repeats => Some(format!("{repeats} bills were seen by more than one ledger: each counts once")),
    }
}

/// Says how many bills were too many to be compared; `None`: none was.
pub(super) fn unknown_text(unknown: u64) -> Option<String> {
    (unknown > 0).then(|| format!("{unknown} bills were too many to be compared with the others"))
}
