//! Metrics of what accounting could not see: calls without a number, bytes that could not be read, fields and callers
//! that are in doubt.

use prometheus::{IntCounter, IntCounterVec};

use super::declare::Declare;
use metering::usage::{Reason, Usage};

/// Reasons of numbers that are not known because nothing is read for them.
const UNMETERED: [Reason; 3] = [Reason::NoUsage, Reason::Unmetered, Reason::UsageElsewhere];

#[derive(Debug)]
pub(super) struct GapMetrics {
    unmetered: IntCounterVec,
    parse_errors: IntCounter,
    unknown_fields: IntCounter,
    conflicts: IntCounter,
}

impl GapMetrics {
    pub(super) fn declare(d: &mut Declare) -> Option<GapMetrics> {
        Some(GapMetrics {
            unmetered: d.counters(
                "tokenweir_unmetered_calls_total",
                "Calls that nobody has a number for on some side, because nothing in them is read for it. reason: no_usage (what the service reports is taken, and it reported nothing), unmetered (what goes by is not looked into, as in a WebSocket, or is another call's), usage_elsewhere (a session that goes round every gateway). A call that is billed by units which are known is not among them.",
                &["api", "reason"],
            )?,
            parse_errors: d
                .counter("tokenweir_sse_parse_errors_total", "Events or bodies that could not be read.")?,
            unknown_fields: d.counter(
                "tokenweir_unknown_usage_fields_total",
                "Tokens of reported usage that have no field of their own: the service has news.",
            )?,
            conflicts: d.counter(
                "tokenweir_caller_conflicts_total",
                "Calls of which two sources named different callers; the first won.",
            )?,
        })
    }

    pub(super) fn settled(&self, usage: &Usage) {
        for reason in UNMETERED.into_iter().filter(|_| usage.units.is_empty()) {
            if usage.accounting.reasons.iter().any(|known| reason.is_in(known)) {
                self.unmetered.with_label_values(&[usage.target.api.as_str(), reason.as_str()]).inc();
            }
        }
        self.conflicts.inc_by(u64::from(usage.caller.conflict));
        self.parse_errors.inc_by(usage.stream.parse_errors);
        self.unknown_fields.inc_by(usage.tokens.other.len() as u64);
    }
}
