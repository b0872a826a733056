//! The memory that captured content may hold, all calls together: what waits, what is open, and what is not stored yet.
//! The network threads ask for it; the capture thread only exchanges what it holds.

use std::hash::{BuildHasher, RandomState};

use crate::tee::{BudgetShare, MemoryBudget};

/// Above so many hundredths there is no room for another call's record (`--on-capture-failure reject`): what the calls
/// that run will bring must fit in the rest.
const TIGHT_PERCENT: usize = 90;

/// `--capture-memory`, of which no caller can take all.
#[derive(Debug)]
pub(super) struct CaptureMemory {
    budget: MemoryBudget,
    caller_hasher: RandomState,
}

impl CaptureMemory {
    pub(super) fn new(max_bytes: usize) -> CaptureMemory {
        CaptureMemory { budget: MemoryBudget::new(max_bytes), caller_hasher: RandomState::new() }
    }

    /// The share of a caller.
    pub(super) fn share_of(&self, caller: &str) -> BudgetShare {
        BudgetShare::of_hash(self.caller_hasher.hash_one(caller))
    }

    /// Takes memory, if there is any.
    pub(super) fn try_take(&self, share: BudgetShare, bytes: usize) -> bool {
        self.budget.try_add(share, bytes)
    }

    /// Exchanges what a share holds for something of another size: a raw block becomes a compressed one.
    pub(super) fn exchange(&self, share: BudgetShare, old_bytes: usize, new_bytes: usize) {
        if new_bytes > old_bytes {
            self.budget.add_beyond(share, new_bytes - old_bytes);
        } else {
            self.release(share, old_bytes - new_bytes);
        }
    }

    /// Gives memory back.
    pub(super) fn release(&self, share: BudgetShare, bytes: usize) {
        if bytes > 0 {
            self.budget.release(share, bytes);
        }
    }

    /// Bytes that are held now.
    pub(super) fn used_bytes(&self) -> usize {
        self.budget.used_bytes()
    }

    /// Most of it is held.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes() > self.budget.max_bytes() / 100 * TIGHT_PERCENT
    }
}
