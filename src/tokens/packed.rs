//! A read-mostly hash map from small keys to small numbers, eight bytes an entry.
//!
//! The tables of a vocabulary are hundreds of thousands of entries that are filled once and then
//! read for every byte counted. Packed into one word each they take a third of the memory of a
//! general map, and a lookup is one multiplication and, nearly always, one cache line.

/// Bits of a value: above the number of ranks (200 k) and of trie nodes (422 k).
const VALUE_BITS: u32 = 20;

/// Bits of a key: two ranks of 18 bits are the longest key.
const KEY_BITS: u32 = 36;

/// A slot without an entry. Entries have 36 + 20 bits, so the top byte of none is set.
const EMPTY: u64 = u64::MAX;

/// Bits of the filter for each slot of the table.
const FILTER_BITS_PER_SLOT: usize = 4;

/// From keys below 2^36 to values below 2^20. Open addressing, linear probing.
///
/// Most lookups find nothing: most neighbours make no token. A filter of one bit for each hash says
/// so in nine of ten such cases, and is small enough to stay in the second-level cache, where the
/// table is not.
pub(super) struct PackedMap {
    slots: Box<[u64]>,
    filter: Box<[u64]>,
    /// How far a hash is shifted to be a bit of the filter; the bit over four is the slot.
    filter_shift: u32,
}

impl PackedMap {
    /// Room for `entries`, at most half of the slots being used.
    pub(super) fn with_room_for(entries: usize) -> PackedMap {
        let slots = (entries * 2).next_power_of_two().max(64);
        let filter_bits = slots * FILTER_BITS_PER_SLOT;
        PackedMap {
            slots: vec![EMPTY; slots].into_boxed_slice(),
            filter: vec![0; filter_bits / 64].into_boxed_slice(),
            filter_shift: 64 - filter_bits.trailing_zeros(),
        }
    }

    /// Adds an entry. The key must be new.
    pub(super) fn insert(&mut self, key: u64, value: u32) {
        debug_assert!(key >> KEY_BITS == 0 && value >> VALUE_BITS == 0);
        let bit = self.filter_bit(key);
        self.filter[bit / 64] |= 1 << (bit % 64);
        let mut at = bit / FILTER_BITS_PER_SLOT;
        while self.slots[at] != EMPTY {
            at = self.next_slot(at);
        }
        self.slots[at] = key << VALUE_BITS | u64::from(value);
    }

    #[inline(always)]
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let bit = self.filter_bit(key);
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let mut at = bit / FILTER_BITS_PER_SLOT;
        loop {
            let entry = self.slots[at];
            if entry >> VALUE_BITS == key {
                return Some((entry & ((1 << VALUE_BITS) - 1)) as u32);
            }
            if entry == EMPTY {
                return None;
            }
            at = self.next_slot(at);
        }
    }

    /// Fibonacci hashing: the high bits of the product depend on all bits of the key.
    #[inline(always)]
    fn filter_bit(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.filter_shift) as usize
    }

    #[inline(always)]
    fn next_slot(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::PackedMap;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let keys = |seed: u64| (0..5_000u64).map(move |i| (i * 7_919 + seed) << 4 & 0xF_FFFF_FFFF);
        let mut map = PackedMap::with_room_for(5_000);
        for (value, key) in keys(0).enumerate() {
            map.insert(key, value as u32);
        }
        for (value, key) in keys(0).enumerate() {
            assert_eq!(map.get(key), Some(value as u32));
        }
        assert!(keys(1 << 30).all(|key| map.get(key | 1).is_none()));
    }

    #[test]
    fn an_empty_map_has_nothing() {
        assert_eq!(PackedMap::with_room_for(0).get(0), None);
        assert_eq!(PackedMap::with_room_for(0).get(0xF_FFFF_FFFF), None);
    }
}
