//! Positions, sequences and totals of a spool: the one row that every transaction rewrites.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use metering::usage::{CONTENT_SCHEMA_VERSION, ContentControl, ContentSide, RowHash, RowsDigest};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use super::super::counters::CaptureCounters;

/// The state of the spool, as the last committed transaction left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpoolLog {
    /// Position of the last row ever stored: positions are never used again, even if every row is gone.
    pub(super) last: u64,
    /// Every row up to here is delivered or refused.
    pub(super) mark: u64,
    /// Transactions so far: tells, after an error, whether the transaction was committed.
    pub(super) commits: u64,
    /// The latest start.
    pub(super) boot: SpoolBoot,
}

/// One start, as far as its control events tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpoolBoot {
    pub(super) id: Uuid,
    /// The sequence of its last row.
    pub(super) sequence: u64,
    pub(super) calls: CallTotals,
    /// Parts that the broker refused for good.
    pub(super) refused: u64,
    /// Parts could not be stored for a time since the previous control event.
    pub(super) degraded: bool,
    /// Its last control event is written.
    pub(super) finished: bool,
    /// The parts that the next control event covers.
    pub(super) since: PartTotals,
}

/// The counters as they stood when the transaction began. A process that dies takes what came after with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CallTotals {
    pub(super) requests: BTreeMap<SmolStr, u64>,
    pub(super) responses: BTreeMap<SmolStr, u64>,
    pub(super) lost_parts: u64,
    pub(super) lost_bytes: u64,
}

impl CallTotals {
    /// The counts of calls and losses as they stand.
    pub(super) fn of(counters: &CaptureCounters) -> CallTotals {
        CallTotals {
            requests: counters.calls_said(ContentSide::Request),
            responses: counters.calls_said(ContentSide::Response),
            lost_parts: counters.lost_parts.load(Ordering::Relaxed),
            lost_bytes: counters.lost_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The parts since a boot's previous control event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartTotals {
    first: Option<u64>,
    last: Option<u64>,
    parts: u64,
    bytes: u64,
    digest: RowsDigest,
}

impl SpoolLog {
    /// The log of a new spool.
    pub(super) fn new(boot: Uuid) -> SpoolLog {
        SpoolLog { last: 0, mark: 0, commits: 0, boot: SpoolBoot::new(boot) }
    }

    /// Takes the next position and the next sequence.
    pub(super) fn advance(&mut self) -> (u64, u64) {
        self.last += 1;
        self.boot.sequence += 1;
        (self.last, self.boot.sequence)
    }
}

impl SpoolBoot {
    pub(super) fn new(id: Uuid) -> SpoolBoot {
        SpoolBoot {
            id,
            sequence: 0,
            calls: CallTotals::default(),
            refused: 0,
            degraded: false,
            finished: false,
            since: PartTotals::default(),
        }
    }

    /// Counts a part that the next control event will cover, by the bytes of its row and those that passed.
    pub(super) fn cover(&mut self, sequence: u64, row: &[u8], bytes_raw: u64) {
        let since = &mut self.since;
        since.first.get_or_insert(sequence);
        since.last = Some(sequence);
        since.parts += 1;
        since.bytes += bytes_raw;
        since.digest.add(&RowHash::of(row));
    }

    /// The control event that speaks of this boot now.
    pub(super) fn control(&self, last: bool) -> ContentControl {
        ContentControl {
            schema_version: SmolStr::new_static(CONTENT_SCHEMA_VERSION),
            instance: self.id.to_string().into(),
            first_sequence: self.since.first,
            last_sequence: self.since.last,
            parts: self.since.parts,
            bytes: self.since.bytes,
            digest: self.since.digest.to_string(),
            requests: self.calls.requests.clone(),
            responses: self.calls.responses.clone(),
            lost_parts: self.calls.lost_parts,
            lost_bytes: self.calls.lost_bytes,
            refused: self.refused,
            degraded: self.degraded,
            last,
        }
    }
}
