//! A read-mostly hash map from small keys to small numbers, eight bytes an entry.
//!
//! The tables of a vocabulary are hundreds of thousands of entries that are filled once and then
//! read for every byte counted. Packed into one word each they take a third of the memory of a
//! general map, and a lookup is one multiplication and, nearly always, one cache line.

/// Bits of a value: above the number of ranks (200 k) and of trie nodes (422 k).
const VALUE_BITS: u32 = 20;

/// Slots that hold no entry. No packed entry has all bits set: see `KEY_BITS`.
const EMPTY: u64 = u64::MAX;

/// Bits of a key: two ranks of 18 bits are the longest key. 36 + 20 bits leave the top byte zero.
const KEY_BITS: u32 = 36;

/// From keys below 2^36 to values below 2^20. Open addressing, linear probing.
pub(super) struct PackedMap {
    slots: Box<[u64]>,
    shift: u32,
}

impl PackedMap {
    /// Room for `entries`, at most half of the slots being used.
    pub(super) fn with_room_for(entries: usize) -> PackedMap {
        let slots = (entries * 2).next_power_of_two().max(2);
        PackedMap { slots: vec![EMPTY; slots].into_boxed_slice(), shift: 64 - slots.trailing_zeros() }
    }

    /// Adds an entry. The key must be new.
    pub(super) fn insert(&mut self, key: u64, value: u32) {
        debug_assert!(key >> KEY_BITS == 0 && value >> VALUE_BITS == 0);
        let mut at = self.first_slot(key);
        while self.slots[at] != EMPTY {
            at = self.next_slot(at);
        }
        self.slots[at] = key << VALUE_BITS | u64::from(value);
    }

    #[inline(always)]
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let mut at = self.first_slot(key);
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
    fn first_slot(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
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
