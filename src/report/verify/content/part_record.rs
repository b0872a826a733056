//! The record of a part that is kept until all are read.

use jiff::Timestamp;
use metering::usage::{RowHash, UsageRecord};

use super::part_key::PartKey;

/// Parts of all inputs, 112 bytes each: 470 MB. They are those of two million calls, or some 2 TB of content at most.
pub(super) const PARTS_MAX: usize = 1 << 22;

const _: () = assert!(size_of::<PartRecord>() <= 112);

/// A part, without what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartRecord {
    pub(super) key: PartKey,
    /// The boot that numbered it, by its place.
    pub(super) boot: u32,
    pub(super) sequence: u64,
    /// Of its whole event.
    pub(super) row: RowHash,
    pub(super) bytes_raw: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) usage: UsageRecord,
    pub(super) is_last: bool,
    pub(super) is_truncated: bool,
}
