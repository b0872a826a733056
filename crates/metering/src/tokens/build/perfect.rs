//! A perfect hash: every key has a slot of its own, found with two looks.
//!
//! The keys are put into buckets by their hash. The buckets are placed one after the other, the
//! fullest first, each with the first seed that leads all its keys to free slots.

use std::cmp::Reverse;

use super::layout::{Bucket, SEEDS};

/// Keys for each bucket, on average, at most.
const KEYS_PER_BUCKET: usize = 4;

pub(crate) struct Perfect<K> {
    /// At least a quarter of them is empty.
    pub(crate) slots: Vec<Option<K>>,
    pub(crate) buckets: Vec<Bucket>,
}

/// `None` if a bucket has no seed, which another choice of constants would cure.
pub(crate) fn place<K: Copy>(keys: &[K], hash: impl Fn(K) -> u64) -> Option<Perfect<K>> {
    let slots = (keys.len() * 5 / 4).next_power_of_two();
    let buckets = slots / KEYS_PER_BUCKET;
    let mut members: Vec<Vec<(u64, K)>> = vec![Vec::new(); buckets];
    for &key in keys {
        members[Bucket::of(hash(key), buckets)].push((hash(key), key));
    }
    let mut perfect = Perfect { slots: vec![None; slots], buckets: vec![Bucket::new(0, &[]); buckets] };
    let mut order: Vec<usize> = (0..buckets).collect();
    order.sort_by_key(|&bucket| Reverse(members[bucket].len()));
    for bucket in order {
        let hashes: Vec<u64> = members[bucket].iter().map(|&(hash, _)| hash).collect();
        let (bucket_placed, places) = (0..SEEDS).find_map(|seed| perfect.try_seed(seed, &hashes))?;
        perfect.buckets[bucket] = bucket_placed;
        for (&(_, key), place) in members[bucket].iter().zip(places) {
            perfect.slots[place] = Some(key);
        }
    }
    Some(perfect)
}

impl<K> Perfect<K> {
    fn try_seed(&self, seed: u32, hashes: &[u64]) -> Option<(Bucket, Vec<usize>)> {
        let bucket = Bucket::new(seed, hashes);
        let mut places: Vec<usize> = Vec::with_capacity(hashes.len());
        for &hash in hashes {
            let place = bucket.slot(hash, self.slots.len());
            if self.slots[place].is_some() || places.contains(&place) {
                return None;
            }
            places.push(place);
        }
        Some((bucket, places))
    }
}
