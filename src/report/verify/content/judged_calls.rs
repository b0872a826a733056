//! The calls that are judged, so that a part is looked at when it is read, or not at all: whoever has the keys of one year
//! only opens what is of that year, and a vault is asked no more than it must be.

use jiff::Timestamp;
use uuid::Uuid;

use super::captured_calls::{SortedCalls, is_in_range};
use super::usage_span::UsageSpans;
use crate::report::verify::options::VerifyOptions;

/// The calls that are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct JudgedCalls<'a> {
    pub(super) calls: &'a SortedCalls,
    pub(super) spans: &'a UsageSpans,
    pub(super) options: &'a VerifyOptions,
}

impl JudgedCalls<'_> {
    /// A part of this ledger and call, sealed at that time, is of one of them. A call without a usage event is judged by
    /// the times of its parts.
    pub(super) fn has(&self, source: &str, call: Option<Uuid>, sealed: Option<Timestamp>) -> bool {
        let source = self.spans.find(source);
        let usage = source.zip(call).and_then(|(source, call)| self.calls.find(source, call));
        usage.map_or_else(|| is_in_range(sealed, self.options), |usage| usage.is_judged(self.options))
    }
}
