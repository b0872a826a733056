//! Rows, added up: what a control event says of those that it covers.

use metering::usage::{ControlKey, Outcome, RowHash, RowsDigest, StoredData, TokenTotals, Units};

use super::event::SequencedEvent;

/// Rows, their tokens and their units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) tokens: TokenTotals,
    /// Most periods have none.
    units: Option<Box<Units>>,
}

/// Everything that is added up of some rows of one boot.
#[derive(Clone, Debug, Default)]
pub(super) struct RowSums {
    /// The first and the last of their sequences.
    pub(super) span: Option<(u64, u64)>,
    pub(super) totals: Totals,
    /// Calls settled one by one.
    pub(super) settled: u64,
    /// Calls in sums.
    pub(super) summed: u64,
    pub(super) digest: RowsDigest,
    /// The same by the key that the user has given.
    pub(super) keyed: RowsDigest,
}

impl Totals {
    pub(super) fn new(events: u64, tokens: TokenTotals, units: &Units) -> Totals {
        let units = (!units.is_empty()).then(|| Box::new(*units));
        Totals { events, tokens, units }
    }

    pub(super) fn units(&self) -> Units {
        self.units.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn join(&mut self, more: &Totals) {
        self.events += more.events;
        self.tokens.add(more.tokens);
        if let Some(more) = &more.units {
            self.units.get_or_insert_default().add(more);
        }
    }
}

impl RowSums {
    /// The sums of one row; of a control event there are none.
    pub(super) fn of(event: &SequencedEvent<'_>, body: &str, key: Option<&ControlKey>) -> RowSums {
        let (usage, settled, summed) = match &event.data {
            StoredData::Control(_) => return RowSums::default(),
            StoredData::Call(usage, outcome) => (usage, u64::from(*outcome != Outcome::Crashed), 0),
            StoredData::Sum(usage, calls) => (usage, 0, *calls),
        };
        let hash = RowHash::of(body.as_bytes());
        let (mut digest, mut keyed) = (RowsDigest::default(), RowsDigest::default());
        digest.add(&hash);
        if let Some(key) = key {
            keyed.add_keyed(&hash, key);
        }
        let totals = Totals::new(1, usage.tokens.totals(), &usage.units);
        RowSums { span: Some((event.sequence, event.sequence)), totals, settled, summed, digest, keyed }
    }

    pub(super) fn join(&mut self, more: &RowSums) {
        self.span = match (self.span, more.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.totals.join(&more.totals);
        self.settled += more.settled;
        self.summed = self.summed.saturating_add(more.summed);
        self.digest.join(more.digest);
        self.keyed.join(more.keyed);
    }
}
