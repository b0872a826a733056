//! A number that says how it came about: a sum of named parts.
//!
//! The rules add every number they find to a [`Bill`], with what it is for. The total is what is
//! charged; the parts are what `tokenweir account --explain` prints. Parts hold names of ours and
//! numbers, never content.

use serde::Serialize;

/// One part of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BillPart {
    /// Its kind: `system text`, `user message`, `tools`.
    pub part: &'static str,
    /// Which one of several of its kind, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    /// Its tokens; a few rules take some away.
    pub tokens: i64,
}

/// Parts that make up a count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    parts: Vec<BillPart>,
    total: i64,
}

impl Bill {
    /// Adds a part of which there is one. One without tokens is left out.
    pub fn add(&mut self, part: &'static str, tokens: i64) {
        self.push(BillPart { part, number: None, tokens });
    }

    /// Adds a part of which there may be several; `place` counts from 0. One without tokens is left
    /// out.
    pub fn add_at(&mut self, part: &'static str, place: impl Into<Option<usize>>, tokens: i64) {
        self.push(BillPart { part, number: place.into().map(|place| place + 1), tokens });
    }

    fn push(&mut self, part: BillPart) {
        self.total = self.total.saturating_add(part.tokens);
        if part.tokens != 0 {
            self.parts.push(part);
        }
    }

    /// The sum, never below 0.
    pub fn total(&self) -> u64 {
        u64::try_from(self.total).unwrap_or(0)
    }

    /// The parts in the order in which they were added.
    pub fn into_parts(self) -> Vec<BillPart> {
        self.parts
    }
}

/// The name of a message's part of a bill.
pub(super) fn spoken_by(role: &str) -> &'static str {
    match role {
        "system" | "developer" => "system message",
        "user" => "user message",
        "assistant" => "assistant message",
        _ => "message",
    }
}
