//! Findings, in words and in numbers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::content::ContentVerdict;

/// Findings of one kind that are named; the others are only counted. They are some 200 bytes each.
pub(super) const FINDINGS_MAX: usize = 10_000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Events that must have been stored are not there.
    Missing,
    /// Events are there more than once, with equal bytes.
    Doubled,
    /// One id or one sequence has two bodies, rows are not those that were stored, or a control event is not.
    Altered,
    /// The same, where a key proves that it was no accident.
    Forged,
    /// Events say what was stored, in other bytes: an engine has rendered them anew.
    ReRendered,
    /// Control events have no signature by the key that was given.
    Unsigned,
    /// The broker refused events for good.
    Refused,
    /// A boot still runs, or did a moment ago.
    Open,
    /// A boot ended without its last control event.
    NeverClosed,
    /// A boot that still runs, or a ledger of which there should be events, says nothing.
    Silent,
}

impl FindingKind {
    /// Every kind, in the order in which they are told.
    pub const ALL: [FindingKind; 10] = [
        FindingKind::Missing,
        FindingKind::Doubled,
        FindingKind::Altered,
        FindingKind::Forged,
        FindingKind::ReRendered,
        FindingKind::Unsigned,
        FindingKind::Refused,
        FindingKind::Open,
        FindingKind::NeverClosed,
        FindingKind::Silent,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Missing => "missing",
            FindingKind::Doubled => "doubled",
            FindingKind::Altered => "altered",
            FindingKind::Forged => "forged",
            FindingKind::ReRendered => "re-rendered",
            FindingKind::Unsigned => "unsigned",
            FindingKind::Refused => "refused",
            FindingKind::Open => "open",
            FindingKind::NeverClosed => "never closed",
            FindingKind::Silent => "silent",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of fault.
    pub kind: FindingKind,
    /// The ledger.
    pub source: String,
    /// The boot of that ledger.
    pub boot: String,
    /// From this sequence on, if it is about some.
    pub first_sequence: Option<u64>,
    /// Up to this one.
    pub last_sequence: Option<u64>,
    /// How many events it is about.
    pub events: u64,
    /// The rest of the sentence.
    pub detail: String,
}

/// One boot as a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootLine {
    /// Its ledger.
    pub source: String,
    /// Its id.
    pub boot: String,
    /// How it ended.
    pub state: BootState,
    /// Distinct events with its sequences that were judged, of every type.
    pub events: u64,
    /// First sequence of these.
    pub first_sequence: Option<u64>,
    /// Last sequence of these.
    pub last_sequence: Option<u64>,
    /// The time of its first event, judged or not.
    pub first: Option<Timestamp>,
    /// The time of the last control event that was judged.
    pub last_control: Option<Timestamp>,
    /// The digest in that control event, over the bytes of the rows that it covers.
    pub last_digest: Option<String>,
    /// As its last control event says: calls with an event.
    pub settled: u64,
    /// Calls that are only in a summary.
    pub summed: u64,
    /// Calls that were running.
    pub open: u64,
    /// Events that the broker refused.
    pub refused: u64,
    /// It could not store every event at once.
    pub degraded: bool,
    /// Events that no control event covers yet.
    pub uncovered: u64,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BootState {
    /// With its last control event.
    Closed,
    /// Not yet.
    Open,
    /// Without a last control event.
    NeverClosed,
    /// Too much of it is gone to tell.
    Cut,
}

impl BootState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            BootState::Closed => "closed",
            BootState::Open => "open",
            BootState::NeverClosed => "never closed",
            BootState::Cut => "cut",
        }
    }
}

/// The verdict of `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Nothing was found.
    pub complete: bool,
    /// The range that was asked for: only boots and control periods that touch it are judged.
    pub from: Option<Timestamp>,
    /// Its end, exclusive.
    pub to: Option<Timestamp>,
    /// From here on events were judged: the first one of the boots that are listed, or the range's beginning.
    pub first: Option<Timestamp>,
    /// Up to here.
    pub last: Option<Timestamp>,
    /// The ledgers that were judged.
    pub sources: Vec<String>,
    /// Control events without a digest, of older versions: who pays may have been altered in what they cover.
    pub no_digest: u64,
    /// Distinct events that were judged.
    pub events: u64,
    /// Copies of events beyond the first.
    pub repeats: u64,
    /// Bills that other ledgers have seen as well: readers count the first.
    pub repeated_bills: u64,
    /// Messages that are no events of tokenweir, or not whole.
    pub foreign: u64,
    /// Every boot that was judged, by source, oldest first.
    pub boots: Vec<BootLine>,
    /// The findings, by kind; at most 10,000 of each.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_more: u64,
    /// A file could not be read to its end, or not at all.
    pub unread: bool,
    /// The beginning is not judged, because it is gone: the remarks say why.
    #[serde(skip)]
    pub(super) is_cut: bool,
    /// The verdict on content, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentVerdict>,
    /// Remarks that are no faults.
    pub notes: Vec<String>,
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(super) struct Findings {
    by_kind: BTreeMap<FindingKind, Vec<Finding>>,
    /// Findings beyond [`FINDINGS_MAX`] of their kind.
    pub(super) more: u64,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        let same = self.by_kind.entry(finding.kind).or_default();
        if same.len() < FINDINGS_MAX {
            same.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Events that the findings of a kind are about.
    pub(super) fn events(&self, kind: FindingKind) -> u64 {
        self.by_kind.get(&kind).into_iter().flatten().map(|finding| finding.events).sum()
    }

    /// All, kind by kind.
    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.by_kind.into_values().flatten().collect()
    }
}

/// `1 event`, `2 events`.
pub(super) fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
