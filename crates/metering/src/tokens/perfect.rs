//! The perfect hashes of a vocabulary, read in place: a key is looked for in the one slot where it
//! would be, and mostly not even there, because the filter of its bucket knows that it is not.

use super::layout::{self, Bucket, Rank};

/// A file of entries of `N` bytes.
pub(super) type Entries<const N: usize> = &'static [[u8; N]];

/// The tokens of up to [`layout::SHORT_BYTES_MAX`] bytes.
#[derive(Clone, Copy)]
pub(super) struct ShortTokens {
    pub(super) slots: Entries<16>,
    pub(super) buckets: Entries<4>,
}

impl ShortTokens {
    #[inline(always)]
    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        let key = layout::short_key(bytes);
        let slot = slot(layout::hash_short(key), self.buckets, self.slots.len());
        slot.is_some_and(|slot| u128::from_le_bytes(self.slots[slot]) == key)
    }
}

/// The token that two neighbours make.
#[derive(Clone, Copy)]
pub(super) struct Joined {
    pub(super) slots: Entries<8>,
    pub(super) buckets: Entries<4>,
}

impl Joined {
    #[inline(always)]
    pub(super) fn get(&self, left: Rank, right: Rank) -> Option<Rank> {
        let key = layout::pair_key(left, right);
        let slot = slot(layout::hash_pair(key), self.buckets, self.slots.len())?;
        layout::joined(u64::from_le_bytes(self.slots[slot]), key)
    }
}

#[inline(always)]
fn slot(hash: u64, buckets: Entries<4>, slots: usize) -> Option<usize> {
    let bucket = Bucket(u32::from_le_bytes(buckets[Bucket::of(hash, buckets.len())]));
    bucket.may_have(hash).then(|| bucket.slot(hash, slots))
}
