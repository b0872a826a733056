//! An event as far as it proves that none is missing.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use crate::report::boot_names::{NAME_BYTES_MAX, has_foreign_names};
use metering::usage::{StoredData, StoredEvent};

/// Larger sequences are no sequences: a thousand calls a second reach 2^62 in a hundred million
/// years.
pub(super) const SEQUENCE_MAX: u64 = 1 << 62;

/// One event, and its place in the sequence of a boot.
#[derive(Debug)]
pub(super) struct SequencedEvent<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) source: Cow<'a, str>,
    /// The boot whose sequence it carries.
    pub(super) boot: String,
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) data: StoredData,
}

impl<'a> SequencedEvent<'a> {
    /// Reads an event as it was stored; `None` if it is not an event of tokenweir, or not whole.
    pub(super) fn read(body: &'a str) -> Option<SequencedEvent<'a>> {
        let stored = StoredEvent::read(body).ok()?;
        let sequence = stored.sequence().filter(|n| (1..SEQUENCE_MAX).contains(n))?;
        let data = stored.data()?;
        if has_foreign_names(&stored, &data) || stored.id.len() > NAME_BYTES_MAX {
            return None;
        }
        let StoredEvent { id, source, time, subject, .. } = stored;
        let boot = match &data {
            StoredData::Control(_) => subject.into_owned(),
            StoredData::Call(usage, _) | StoredData::Sum(usage, _) => usage.reporter.instance.to_string(),
        };
        Some(SequencedEvent { id, source, boot, sequence, time, data })
    }

    /// Stands for (`source`, `id`) where millions of them are compared.
    pub(super) fn id_hash(&self) -> u64 {
        hash(&(&self.source, &self.id))
    }
}

/// 64 bits that stand for a value; the same in every run.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
