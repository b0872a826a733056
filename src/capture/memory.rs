//! The memory that captured content may hold, all calls together: what waits, what is open, and what is not stored yet.
//! The network threads ask for it; the capture thread only exchanges what it holds.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

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

    /// Gives memory back.
    fn release(&self, share: BudgetShare, bytes: usize) {
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

/// Memory that was taken. Whoever drops it gives it back, also in a panic.
#[derive(Debug)]
pub(super) struct HeldMemory {
    memory: Arc<CaptureMemory>,
    share: BudgetShare,
    bytes: usize,
}

impl HeldMemory {
    /// Holds what this share has taken.
    pub(super) fn of_taken(memory: &Arc<CaptureMemory>, share: BudgetShare, bytes: usize) -> HeldMemory {
        HeldMemory { memory: Arc::clone(memory), share, bytes }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Exchanges it for something of another size: a raw block becomes a compressed one.
    pub(super) fn exchange(&mut self, new_bytes: usize) {
        if new_bytes > self.bytes {
            self.memory.budget.add_beyond(self.share, new_bytes - self.bytes);
        } else {
            self.memory.release(self.share, self.bytes - new_bytes);
        }
        self.bytes = new_bytes;
    }

    /// Takes over what is held for something that becomes a part of this.
    pub(super) fn take_over(&mut self, mut other: HeldMemory) {
        debug_assert!(self.share == other.share, "both are of one call");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.memory.release(self.share, self.bytes);
    }
}
