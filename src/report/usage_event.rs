//! An event that counts: a call, or calls that are only in a sum.

use jiff::Timestamp;
use uuid::Uuid;

use metering::usage::{Outcome, Quality, StoredData, StoredEvent, StoredUsage};

/// A call, or calls that are only in a sum.
pub(super) struct UsageEvent {
    pub(super) source: String,
    pub(super) id: Uuid,
    pub(super) time: Timestamp,
    pub(super) calls: u64,
    /// `None`: they are only in a sum.
    pub(super) outcome: Option<Outcome>,
    pub(super) usage: StoredUsage,
}

impl UsageEvent {
    /// `None` if it is not an event of tokenweir, or not whole.
    pub(super) fn read(stored: &StoredEvent<'_>) -> Option<UsageEvent> {
        let (id, time) = (Uuid::parse_str(&stored.id).ok()?, stored.time?);
        let (usage, outcome, calls) = match stored.data()? {
            StoredData::Call(usage, outcome) => (usage, Some(outcome), 1),
            StoredData::Sum(usage, calls) => (usage, None, calls),
            StoredData::Control(_) => return None,
        };
        Some(UsageEvent { source: stored.source.to_string(), id, time, calls, outcome, usage })
    }

    /// Both numbers, each with its quality.
    pub(super) fn sides(&self) -> [(Option<u64>, Quality); 2] {
        let (tokens, accounting) = (&self.usage.tokens, &self.usage.accounting);
        [(tokens.input, accounting.input_quality), (tokens.output, accounting.output_quality)]
    }

    /// Its tokens whose number is known this well.
    pub(super) fn tokens_of(&self, quality: Quality) -> u64 {
        let numbers = self.sides().into_iter().filter(|(_, known)| *known == quality);
        numbers.filter_map(|(number, _)| number).sum()
    }

    /// Its input or its output is not known. In a summary an unknown number counts as 0; its quality still
    /// says so.
    pub(super) fn is_unknown(&self) -> bool {
        self.sides().iter().any(|(number, quality)| number.is_none() || *quality == Quality::Unknown)
    }
}
