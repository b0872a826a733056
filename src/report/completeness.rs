//! Whether a report is of all that there was: what was left out, and what of the range is not there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strum::IntoStaticStr;

use super::omissions::Omissions;

/// Holes of one kind that are named; the others are only counted.
const LACKS_MAX: usize = 1_000;

/// Holes of one kind that a page names.
const PAGE_MAX: usize = 2;

/// Holes that people are shown.
const SHOWN_MAX: usize = 10;

/// Tells why a report cannot know of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LackReason {
    /// There is no event at all.
    NoEvents,
    /// A ledger has let delivered events go.
    LedgerRetention,
    /// A topic has let messages go.
    TopicRetention,
    /// A source begins in the middle of a boot.
    Beginning,
    /// Sequence numbers are missing.
    Missing,
    /// A source has not told yet that this is all up to the range's end.
    NotCovered,
    /// The range ends in the future.
    Future,
}

/// A part of the range that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Why not.
    pub reason: LackReason,
    /// A sentence for people.
    pub detail: String,
}

/// Whether a report is of all that there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Everything that was left out.
    pub omissions: Omissions,
    /// The parts of the range that are not there.
    pub lacks: Vec<Lack>,
    /// Of these: more than are named.
    pub lacks_more: u64,
    /// Remarks that change nothing.
    pub notes: Vec<String>,
}

impl LackReason {
    /// The word that stands in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Completeness {
    /// Nothing was left out, and the range is wholly there.
    pub fn is_whole(&self) -> bool {
        self.omissions.is_empty() && self.lacks.is_empty()
    }

    pub(super) fn lack(&mut self, reason: LackReason, detail: String) {
        if self.lacks.iter().filter(|lack| lack.reason == reason).count() < LACKS_MAX {
            self.lacks.push(Lack { reason, detail });
        } else {
            self.lacks_more += 1;
        }
    }

    /// Lines for standard error, the first of each kind; `rest` says what tells of the others.
    pub fn texts(&self, rest: &str) -> impl Iterator<Item = String> {
        let hidden = self.lacks.len().saturating_sub(SHOWN_MAX) as u64 + self.lacks_more;
        let more = (hidden > 0).then(|| format!("not complete: and {hidden} more: {rest}"));
        let lacks = self.lacks.iter().take(SHOWN_MAX).map(|lack| format!("not complete: {}", lack.detail));
        let notes = self.notes.iter().map(|note| format!("note: {note}"));
        self.omissions.texts().chain(lacks).chain(more).chain(notes)
    }

    /// The same for a page, which is read by people who want to know what kinds of things are missing.
    pub(super) fn faults_by_reason(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.omissions.texts().collect();
        let mut by_reason: BTreeMap<LackReason, Vec<&str>> = BTreeMap::new();
        for lack in &self.lacks {
            by_reason.entry(lack.reason).or_default().push(&lack.detail);
        }
        for (reason, details) in by_reason {
            faults.extend(details.iter().take(PAGE_MAX).map(|detail| format!("not complete: {detail}")));
            if let more @ 1.. = details.len().saturating_sub(PAGE_MAX) {
                let reason = reason.as_str().replace('_', " ");
                faults.push(format!("not complete: and {more} more ({reason}): --format json names them"));
            }
        }
        if self.lacks_more > 0 {
            faults.push(format!("not complete: and {} more that are only counted", self.lacks_more));
        }
        faults
    }

    /// The members of a document that say it.
    pub(super) fn members(&self) -> Map<String, Value> {
        let lacks = self.lacks.iter();
        let lacks = lacks.map(|lack| serde_json::json!({"why": lack.reason.as_str(), "detail": lack.detail}));
        let lacks: Vec<Value> = lacks.collect();
        let members = [
            ("complete", self.is_whole().into()),
            ("left_out", self.omissions.json()),
            ("incomplete", lacks.into()),
            ("incomplete_more", self.lacks_more.into()),
            ("notes", self.notes.clone().into()),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
