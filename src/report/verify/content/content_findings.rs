//! Findings and the verdict on content.

use std::collections::BTreeMap;

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// Findings of one kind that are named; the others are only counted. They are some 300 bytes each.
const FINDINGS_MAX: usize = 10_000;

/// A kind of fault in the content.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum ContentFindingKind {
    /// Parts that were made are not there.
    Missing,
    /// A part is not the one that was made, or two bodies stand under one id or one sequence.
    Altered,
    /// A seal stands in another part than the one that it was made for.
    Swapped,
    /// A part cannot be opened with what was given.
    Unopenable,
    /// The parts of a call are not those of which its usage event tells.
    Contradictory,
    /// A part belongs to a call of which there is no usage event.
    Unaccounted,
    /// Parts were lost behind their usage event, and never stored.
    Lost,
    /// The broker refused parts for good.
    Refused,
    /// A boot still runs, or did a moment ago.
    Open,
    /// A boot ended without its last control event.
    #[serde(rename = "never_closed")]
    #[strum(serialize = "never closed")]
    NeverClosed,
}

impl ContentFindingKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One thing that is wrong with the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContentFinding {
    /// The kind of fault.
    pub kind: ContentFindingKind,
    /// The ledger.
    pub source: String,
    /// The id of a part, the id of a call, or a boot.
    pub about: String,
    /// How many parts it is about.
    pub parts: u64,
    /// The rest of the sentence.
    pub detail: String,
}

/// The verdict on content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContentVerdict {
    /// Nothing was found.
    pub complete: bool,
    /// Distinct parts that were read.
    pub parts: u64,
    /// Bytes in them, as they passed.
    pub bytes: u64,
    /// Of these: parts that were opened and hold what they say.
    pub opened: u64,
    /// Of these: parts that are not sealed, since the operator has allowed that.
    pub cleartext: u64,
    /// Events of the capture topic that came again with the same bytes.
    pub repeats: u64,
    /// Calls whose usage event tells of content.
    pub calls: u64,
    /// Of these, by what was kept of the request.
    pub requests: BTreeMap<&'static str, u64>,
    /// Of these, by what was kept of the response.
    pub responses: BTreeMap<&'static str, u64>,
    /// The findings, by kind; at most 10,000 of each.
    pub findings: Vec<ContentFinding>,
    /// Findings beyond those.
    pub findings_more: u64,
    /// A file could not be read to its end, or not at all.
    pub unread: bool,
    /// Remarks that are no faults.
    pub notes: Vec<String>,
    #[serde(skip)]
    by_kind: BTreeMap<ContentFindingKind, u64>,
}

impl ContentVerdict {
    /// Adds a finding, as long as there is room for it.
    pub(super) fn add(&mut self, finding: ContentFinding) {
        let same = self.by_kind.entry(finding.kind).or_default();
        *same += 1;
        if *same <= FINDINGS_MAX as u64 {
            self.findings.push(finding);
        } else {
            self.findings_more += 1;
        }
    }

    /// Adds a remark on so many things, if there are any.
    pub(super) fn remark(&mut self, count: u64, text: &str) {
        if count > 0 {
            self.notes.push(format!("{text}: {count}"));
        }
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.findings.sort_by(|a, b| (a.kind, &a.source, &a.about).cmp(&(b.kind, &b.source, &b.about)));
        self.complete = self.findings.is_empty();
    }
}
