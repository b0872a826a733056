//! Digests of stored rows, which add up in any order.
//!
//! Rows of one period may be read from many partitions, so their hashes are added and not chained: the sum of the
//! first 128 bits of each row's SHA-256. Place and boot are within a row's bytes, so a row that is altered, moved or
//! exchanged changes the sum. A sum of hashes that anybody can compute is no seal, though: whoever may choose the bytes
//! of a dozen rows finds others with the same sum (Wagner, "A Generalized Birthday Problem", 2002). It shows what went
//! wrong by itself or by a plain hand. Against intent stands the sum of HMACs of the rows, whose summands nobody
//! without the key can compute (Clarke et al., "Incremental Multiset Hash Functions", 2003).

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::caller::hex;

/// Bytes of a hash that are added.
const ADDED_BYTES: usize = 16;

/// Bytes of a key's name that are written: enough to tell keys apart, and nothing of the key.
const KEY_ID_BYTES: usize = 6;

/// The text whose HMAC names a key. It is shorter than a hash and than any event.
const KEY_ID_OF: &[u8] = b"control key id";

/// The SHA-256 of an event's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowHash([u8; 32]);

/// The sum of hashes, modulo 2^128: as text 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsDigest(u128);

/// The key of the HMACs in control events.
#[derive(Clone)]
pub struct ControlKey {
    key: hmac::Key,
    id: SmolStr,
}

impl RowHash {
    /// The hash of a row.
    pub fn of(row: &[u8]) -> RowHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, row).as_ref());
        RowHash(hash)
    }
}

impl RowsDigest {
    /// Adds a row.
    pub fn add(&mut self, row: &RowHash) {
        self.0 = self.0.wrapping_add(first_bytes(&row.0));
    }

    /// Adds a row's HMAC by a key.
    pub fn add_keyed(&mut self, row: &RowHash, key: &ControlKey) {
        self.0 = self.0.wrapping_add(first_bytes(hmac::sign(&key.key, &row.0).as_ref()));
    }

    /// Adds the rows of another sum.
    pub fn join(&mut self, other: RowsDigest) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

fn first_bytes(hash: &[u8]) -> u128 {
    hash.iter().take(ADDED_BYTES).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

impl fmt::Display for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for RowsDigest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<RowsDigest, Self::Err> {
        u128::from_str_radix(text, 16).map(RowsDigest)
    }
}

impl Serialize for RowsDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowsDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RowsDigest, D::Error> {
        SmolStr::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl ControlKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8]) -> ControlKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let id = hex(&hmac::sign(&key, KEY_ID_OF).as_ref()[..KEY_ID_BYTES]).collect();
        ControlKey { key, id }
    }

    /// A name of the key, by which a reader knows whether it has the same: 12 hex digits.
    pub fn id(&self) -> &SmolStr {
        &self.id
    }

    /// The HMAC-SHA-256 of some bytes, as 64 hex digits.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        hex(hmac::sign(&self.key, bytes).as_ref()).collect()
    }
}

/// A key is never shown.
impl fmt::Debug for ControlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The values are those of Python's `hashlib` and `hmac`.
    #[test]
    fn the_sums_are_those_that_other_tools_compute() {
        let mut sum = RowsDigest::default();
        assert_eq!(sum.to_string(), "0".repeat(32));
        sum.add(&RowHash::of(b"abc"));
        assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223");
        sum.add(&RowHash::of(b""));
        assert_eq!(sum.to_string(), "9e28db0227fdebfedc3d35a6f71ddb47");
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(text, "\"9e28db0227fdebfedc3d35a6f71ddb47\"");
        assert_eq!(serde_json::from_str::<RowsDigest>(&text).unwrap(), sum);
        assert!("9e28z".parse::<RowsDigest>().is_err());
        let key = ControlKey::new(b"k");
        assert_eq!(key.id(), "71606846aadb");
        assert_eq!(format!("{key:?}"), "ControlKey { id: \"71606846aadb\", .. }");
        let mut keyed = RowsDigest::default();
        keyed.add_keyed(&RowHash::of(b"abc"), &key);
        assert_eq!(keyed.to_string(), "eca0a0faa11e8a16281dd49a201342ab");
    }

    proptest! {
        #[test]
        fn rows_add_up_in_any_order_and_any_groups(
            rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            order in prop::collection::vec(any::<u64>(), 20), cut in 0..20_usize,
        ) {
            let sum = |rows: &[&Vec<u8>]| {
                let mut sum = RowsDigest::default();
                rows.iter().for_each(|row| sum.add(&RowHash::of(row)));
                sum
            };
            let given: Vec<&Vec<u8>> = rows.iter().collect();
            let mut shuffled: Vec<(u64, &Vec<u8>)> = order.into_iter().zip(given.iter().copied()).collect();
            shuffled.sort();
            let shuffled: Vec<&Vec<u8>> = shuffled.into_iter().map(|(_, row)| row).collect();
            let (head, tail) = shuffled.split_at(cut.min(shuffled.len()));
            let mut joined = sum(head);
            joined.join(sum(tail));
            prop_assert_eq!(joined, sum(&given));
        }
    }
}
