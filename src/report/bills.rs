//! Bills that more than one ledger has seen: the first one stands.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use metering::usage::StoredUsage;

/// Bills that are remembered to be told apart: some 24 bytes each, 400 MB. A later one counts as it comes.
const BILLS_MAX: usize = 16_000_000;

/// The bills that were met so far, each as 128 bits.
#[derive(Debug, Default)]
pub(super) struct BillsSeen {
    seen: HashSet<u128>,
    hashers: [RandomState; 2],
    /// Bills that were met before.
    pub(super) repeats: u64,
    /// Bills that were not remembered.
    pub(super) unknown: u64,
}

impl BillsSeen {
    /// The usage is a bill that was met before.
    pub(super) fn repeats(&mut self, usage: &StoredUsage) -> bool {
        let Some(work) = usage.bill_of() else { return false };
        let [low, high] =
            [&self.hashers[0], &self.hashers[1]].map(|hasher| u128::from(hasher.hash_one(work)));
        let key = high << 64 | low;
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
