//! How the tables of a vocabulary lie in their files: what `build.rs` writes and the program reads.
//!
//! Both sides compile this file, so that they cannot disagree. All numbers are little endian, and
//! each file is a row of equal entries, read in place.
//!
//! | file | entry | what |
//! |---|---|---|
//! | `short` | 16 bytes | the tokens of up to 15 bytes ([`short_key`]), a perfect hash |
//! | `joined` | 8 bytes | from two neighbours to the token that they make, a perfect hash |
//! | `steps` | 4 bytes | the trie of all tokens ([`Step`]), a double array |
//! | `links` | 8 bytes | for each node of the trie, its [`Link`] |
//! | `tokens` | 16 bytes | for each rank, its [`TokenEntry`] |
//!
//! A perfect hash is two files, the slots and the [`Bucket`]s.

/// Bytes of the longest token in both vocabularies. Code that looks back over a piece need not
/// look further than this.
pub(crate) const TOKEN_BYTES_MAX: usize = 128;

/// Bytes of a token that is found by its bytes in one step. Longer ones are found in the trie.
pub(crate) const SHORT_BYTES_MAX: usize = 15;

/// The place of a token in its vocabulary. A lower rank is joined earlier.
pub(crate) type Rank = u32;

/// Ranks have 18 bits; this one is no token.
pub(crate) const NO_RANK: Rank = (1 << RANK_BITS) - 1;
const RANK_BITS: u32 = 18;

/// Nodes of the trie have 20 bits.
pub(crate) const NODE_BITS: u32 = 20;
const NODE_MASK: u32 = (1 << NODE_BITS) - 1;

/// A few bytes and their number as one number, which is 0 for no bytes.
#[inline(always)]
pub(crate) fn short_key(bytes: &[u8]) -> u128 {
    let len = bytes.len();
    let (low, high) = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // The last eight bytes without those that are among the first eight.
        let rest = u64::from_le_bytes(*last).checked_shr(8 * (16 - len as u32)).unwrap_or(0);
        (u64::from_le_bytes(*first), rest)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let rest = u64::from(u32::from_le_bytes(*last)) >> (8 * (8 - len));
        (u64::from(u32::from_le_bytes(*first)) | rest << 32, 0)
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        (u64::from(*first) | u64::from(bytes[len / 2]) << 8 | u64::from(*last) << 16, 0)
    } else {
        (0, 0)
    };
    u128::from(high | (len as u64) << 56) << 64 | u128::from(low)
}

/// A quick hash. The tables are fixed, so a sender cannot choose keys that collide.
#[inline(always)]
pub(crate) fn hash_short(key: u128) -> u64 {
    fold(key as u64 ^ 0xA076_1D64_78BD_642F, (key >> 64) as u64 ^ 0xE703_7ED1_A0B4_28DB)
}

/// Two neighbours as one key.
#[inline(always)]
pub(crate) fn pair_key(left: u32, right: u32) -> u64 {
    u64::from(left) << RANK_BITS | u64::from(right)
}

/// See [`hash_short`].
#[inline(always)]
pub(crate) fn hash_pair(key: u64) -> u64 {
    fold(key ^ 0xA076_1D64_78BD_642F, 0x9E37_79B9_7F4A_7C15)
}

/// No entry of `joined`: no key is so large.
pub(crate) const NO_JOIN: u64 = u64::MAX;

/// An entry of `joined`.
pub(crate) fn join(key: u64, rank: u32) -> u64 {
    key << RANK_BITS | u64::from(rank)
}

/// The rank in an entry of `joined`, if it is the entry for `key`.
#[inline(always)]
pub(crate) fn joined(entry: u64, key: u64) -> Option<u32> {
    (entry >> RANK_BITS == key).then_some(entry as u32 & NO_RANK)
}

/// Multiplies to 128 bits and folds the halves, so that every bit of the result depends on all.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The keys of a perfect hash that share the upper bits of their hash: the seed that puts each of
/// them into a slot of its own, and a filter that knows most keys that are not there.
#[derive(Clone, Copy)]
pub(crate) struct Bucket(pub(crate) u32);

/// Seeds have 8 bits, the rest is filter.
pub(crate) const SEEDS: u32 = 256;
const FILTER_BITS: u64 = 24;

impl Bucket {
    pub(crate) fn new(seed: u32, hashes: &[u64]) -> Bucket {
        Bucket(hashes.iter().fold(seed, |bucket, &hash| bucket | Bucket::filter_bit(hash)))
    }

    /// Which of `buckets` (a power of two) a hash belongs to.
    #[inline(always)]
    pub(crate) fn of(hash: u64, buckets: usize) -> usize {
        (hash >> 40) as usize & (buckets - 1)
    }

    /// Which of `slots` (a power of two) a hash belongs to.
    #[inline(always)]
    pub(crate) fn slot(self, hash: u64, slots: usize) -> usize {
        let seed = u64::from(self.0 % SEEDS);
        hash.wrapping_add(seed.wrapping_mul(hash >> 20 | 1)) as usize & (slots - 1)
    }

    /// Is there, perhaps, a key with this hash?
    #[inline(always)]
    pub(crate) fn may_have(self, hash: u64) -> bool {
        self.0 & Bucket::filter_bit(hash) != 0
    }

    #[inline(always)]
    fn filter_bit(hash: u64) -> u32 {
        let bit = ((hash >> 24 & 0xFFFF) * FILTER_BITS) >> 16;
        1 << (8 + bit)
    }
}

/// A node of the trie as an entry of the double array: where its children begin, and the byte that
/// led to it. The child for byte `b` is entry `children + b`, if the entry there was led to by `b`:
/// no two nodes begin at the same place, so it has no other parent.
#[derive(Clone, Copy)]
pub(crate) struct Step(pub(crate) u32);

const STEP_USED: u32 = 1 << 8;
const STEP_IS_TOKEN: u32 = 1 << 9;

impl Step {
    pub(crate) fn new(byte: u8, is_token: bool, children: u32) -> Step {
        Step(u32::from(byte) | STEP_USED | if is_token { STEP_IS_TOKEN } else { 0 } | children << 12)
    }

    /// Was this node led to by `byte`?
    #[inline(always)]
    pub(crate) fn is_by(self, byte: u8) -> bool {
        self.0 & (STEP_USED | 0xFF) == STEP_USED | u32::from(byte)
    }

    #[inline(always)]
    pub(crate) fn is_token(self) -> bool {
        self.0 & STEP_IS_TOKEN != 0
    }

    #[inline(always)]
    pub(crate) fn child(self, byte: u8) -> u32 {
        (self.0 >> 12) + u32::from(byte)
    }
}

/// The links of a node: where reading falls back to, and the longest token that ends there.
#[derive(Clone, Copy)]
pub(crate) struct Link(pub(crate) u64);

impl Link {
    pub(crate) fn new(fallback: u32, longest: u32) -> Link {
        Link(u64::from(longest) << NODE_BITS | u64::from(fallback))
    }

    /// The node of the longest proper suffix that has one.
    #[inline(always)]
    pub(crate) fn fallback(self) -> u32 {
        self.0 as u32 & NODE_MASK
    }

    /// The longest token that is a suffix.
    #[inline(always)]
    pub(crate) fn longest(self) -> u32 {
        (self.0 >> NODE_BITS) as u32
    }
}

/// The properties of a token, packed: see [`TokenEntryParts`].
#[derive(Clone, Copy)]
pub(crate) struct TokenEntry(pub(crate) u128);

/// The parts of a [`TokenEntry`].
pub(crate) struct TokenEntryParts {
    /// The two tokens that it was made of; a single byte was made of itself.
    pub(crate) left: u32,
    pub(crate) right: u32,
    /// The longest token that is a proper suffix.
    pub(crate) suffix: u32,
    /// The longest token that is a proper prefix.
    pub(crate) prefix: u32,
    pub(crate) node: u32,
    pub(crate) len: u8,
}

impl TokenEntry {
    pub(crate) fn new(parts: &TokenEntryParts) -> TokenEntry {
        let low = u64::from(parts.left) | u64::from(parts.right) << 18 | u64::from(parts.node) << 36;
        let high = u64::from(parts.suffix) | u64::from(parts.prefix) << 18 | u64::from(parts.len) << 36;
        TokenEntry(u128::from(high) << 64 | u128::from(low))
    }

    #[inline(always)]
    pub(crate) fn left(self) -> u32 {
        self.0 as u32 & NO_RANK
    }

    #[inline(always)]
    pub(crate) fn right(self) -> u32 {
        (self.0 >> 18) as u32 & NO_RANK
    }

    #[inline(always)]
    pub(crate) fn node(self) -> u32 {
        (self.0 >> 36) as u32 & NODE_MASK
    }

    #[inline(always)]
    pub(crate) fn suffix(self) -> u32 {
        (self.0 >> 64) as u32 & NO_RANK
    }

    #[inline(always)]
    pub(crate) fn prefix(self) -> u32 {
        (self.0 >> 82) as u32 & NO_RANK
    }

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.0 >> 100) as usize & 0xFF
    }
}
