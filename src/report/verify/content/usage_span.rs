//! The time that the usage events of each ledger cover: outside of it a part without a usage event proves nothing.

use std::collections::HashMap;

use jiff::Timestamp;

/// A ledger, as its usage events show it.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct UsageSpan {
    pub(in super::super) first: Option<Timestamp>,
    pub(in super::super) last: Option<Timestamp>,
    /// All of its boots have ended.
    pub(in super::super) is_closed: bool,
}

/// The ledgers of the usage events, each with its place.
#[derive(Debug, Default)]
pub(in super::super) struct UsageSpans {
    /// The beginning of the usage events is gone.
    pub(in super::super) is_cut: bool,
    pub(in super::super) by_place: Vec<UsageSpan>,
    places: HashMap<String, usize>,
}

impl UsageSpans {
    /// The place of a ledger, which is a new one if it was not met.
    pub(in super::super) fn place(&mut self, source: &str) -> usize {
        if let Some(place) = self.find(source) {
            return place;
        }
        self.places.insert(source.to_owned(), self.by_place.len());
        self.by_place.push(UsageSpan { is_closed: true, ..UsageSpan::default() });
        self.by_place.len() - 1
    }

    /// The place of a ledger that was met.
    pub(super) fn find(&self, source: &str) -> Option<usize> {
        self.places.get(source).copied()
    }

    /// The names of the ledgers, by their places.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![""; self.by_place.len()];
        for (name, place) in &self.places {
            names[*place] = name;
        }
        names
    }
}
