//! Memory that all calls together may hold for one purpose, of which no caller can take all.
//!
//! A caller alone may hold nearly all of it. But the more a caller holds already, the more must be left for
//! the others when it asks for more: so there is always some room for a caller who holds little, whatever another
//! does. (Known from the buffers of switches as dynamic thresholds, Choudhury and Hahne 1998.)

use std::sync::atomic::{AtomicUsize, Ordering};

/// A caller may hold so many times what is left when it has got what it asks for. So one alone gets 15 of 16
/// parts, and a second one that wants all gets 15 of 16 parts of the rest, until the first gives some back.
const TIMES_LEFT_MAX: usize = 15;

/// Callers are told apart by a number below this. Two that have the same number have one share, which costs
/// neither anything while there is room.
const SHARES: usize = 1024;

/// The share of a caller, who may have many calls: callers with the same name have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetShare(usize);

impl BudgetShare {
    /// The share that a hash of the caller's name stands for.
    pub fn of_hash(hash: u64) -> BudgetShare {
        BudgetShare(usize::try_from(hash % SHARES as u64).unwrap_or(0))
    }
}

/// Bytes that may be held, and how many of them each share holds.
#[derive(Debug)]
pub struct MemoryBudget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
    shares_bytes: Box<[AtomicUsize]>,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(max_bytes: usize) -> MemoryBudget {
        let shares_bytes = (0..SHARES).map(|_| AtomicUsize::new(0)).collect();
        MemoryBudget { max_bytes, used_bytes: AtomicUsize::new(0), shares_bytes }
    }

    /// Bytes that are held now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Acquire)
    }

    /// Bytes that may be held.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Takes so many bytes more for a share, if there is room for them.
    pub fn try_add(&self, share: BudgetShare, more_bytes: usize) -> bool {
        if more_bytes == 0 {
            return true;
        }
        let add = |used: usize| used.checked_add(more_bytes).filter(|&sum| sum <= self.max_bytes);
        let Ok(before) = self.used_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add) else {
            return false;
        };
        let left_bytes = self.max_bytes - before - more_bytes;
        let share_bytes = self.shares_bytes[share.0].fetch_add(more_bytes, Ordering::AcqRel) + more_bytes;
        if share_bytes > left_bytes.saturating_mul(TIMES_LEFT_MAX) {
            self.release(share, more_bytes);
            return false;
        }
        true
    }

    /// Takes so many bytes more for a share although there may be no room for them: what is held becomes something
    /// else, of which no part can be refused. The others get less until it is given back.
    pub fn add_beyond(&self, share: BudgetShare, more_bytes: usize) {
        self.used_bytes.fetch_add(more_bytes, Ordering::AcqRel);
        self.shares_bytes[share.0].fetch_add(more_bytes, Ordering::AcqRel);
    }

    /// Gives bytes of a share back.
    pub fn release(&self, share: BudgetShare, bytes: usize) {
        let share_bytes = self.shares_bytes[share.0].fetch_sub(bytes, Ordering::AcqRel);
        let used_bytes = self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(share_bytes >= bytes && used_bytes >= bytes, "only what was taken is given back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_caller_gets_nearly_all_and_never_all() {
        let budget = MemoryBudget::new(16_000);
        let (greedy, other) = (BudgetShare::of_hash(1), BudgetShare::of_hash(2));
        let got = (0..20_000).filter(|_| budget.try_add(greedy, 1)).count();
        assert_eq!(got, 15_000);
        assert!(!budget.try_add(greedy, 1) && budget.try_add(other, 900));
        budget.release(greedy, 15_000);
        budget.release(other, 900);
        assert_eq!(budget.used_bytes(), 0);
        assert!(!budget.try_add(greedy, 15_001) && budget.try_add(greedy, 15_000));
        assert!(!MemoryBudget::new(0).try_add(greedy, 1) && MemoryBudget::new(0).try_add(greedy, 0));
        budget.release(greedy, 15_000);
        budget.add_beyond(other, 16_001);
        assert!(!budget.try_add(greedy, 1), "what is beyond the bound leaves no room");
        budget.release(other, 16_001);
        assert!(budget.try_add(other, 900));
    }

    proptest! {
        /// There is room for others whatever one caller asks for, in whatever pieces; the bound holds for
        /// any number of them, and all that is given back is free again.
        #[test]
        fn there_is_room_beside_a_caller_that_wants_all(
            asked in prop::collection::vec(1_usize..500_000, 1..400),
            others in prop::collection::vec((0_u64..20, 1_usize..500_000), 0..100),
        ) {
            const MAX: usize = 10_000_000;
            let (budget, greedy, other) = (MemoryBudget::new(MAX), BudgetShare::of_hash(500), BudgetShare::of_hash(501));
            let mut held = Vec::new();
            for bytes in asked {
                if budget.try_add(greedy, bytes) {
                    held.push((greedy, bytes));
                }
                prop_assert!(budget.try_add(other, MAX / 32), "{} are used", budget.used_bytes());
                budget.release(other, MAX / 32);
            }
            for (who, bytes) in others {
                if budget.try_add(BudgetShare::of_hash(who), bytes) {
                    held.push((BudgetShare::of_hash(who), bytes));
                }
                prop_assert!(budget.used_bytes() <= MAX);
            }
            held.into_iter().for_each(|(share, bytes)| budget.release(share, bytes));
            prop_assert_eq!(budget.used_bytes(), 0);
        }
    }
}
