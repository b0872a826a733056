//! Whether a report is of all that there was: what was left out, and what of the range is not there.

use serde_json::{Map, Value};
use strum::IntoStaticStr;

use super::omissions::Omissions;

/// Holes of one kind that are named; the others are only counted.
const LACKS_MAX: usize = 1_000;

/// Holes that people are shown.
const SHOWN_MAX: usize = 10;

/// What a report cannot know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
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
    /// What was left out.
    pub omissions: Omissions,
    /// What of the range is not there.
    pub lacks: Vec<Lack>,
    /// Of these: more than are named.
    pub lacks_more: u64,
    /// What is worth a word and changes nothing.
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

    /// Lines for standard error.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        let hidden = self.lacks.len().saturating_sub(SHOWN_MAX) as u64 + self.lacks_more;
        let more = (hidden > 0).then(|| format!("not complete: and {hidden} more: --format json names them"));
        let lacks = self.lacks.iter().take(SHOWN_MAX).map(|lack| format!("not complete: {}", lack.detail));
        self.omissions
            .texts()
            .chain(lacks)
            .chain(more)
            .chain(self.notes.iter().map(|note| format!("note: {note}")))
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
