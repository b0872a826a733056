//! Whether a month is complete, and what is said of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use strum::VariantArray;

use crate::report::omissions::OmissionReason;
use crate::report::tally::Report;
use crate::report::verify::{FindingKind, Verdict};

/// Whether a month is complete.
#[derive(Debug)]
pub(super) struct CloseState<'a> {
    report: &'a Report,
    verdict: &'a Verdict,
}

impl<'a> CloseState<'a> {
    pub(super) fn of(report: &'a Report, verdict: &'a Verdict) -> CloseState<'a> {
        CloseState { report, verdict }
    }

    /// The proof has found something.
    pub(super) fn is_found(&self) -> bool {
        !self.verdict.complete
    }

    /// Every event of the month is there, proven, and has a price.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_found() && !self.verdict.unread && self.report.is_complete()
    }

    /// Says what the proof found, in one sentence that depends on nothing but the events.
    pub(super) fn proof_text(&self) -> String {
        let events = plural(self.verdict.events, "event");
        let boots = plural(self.verdict.boots.len() as u64, "boot");
        let sources = plural(self.verdict.sources.len() as u64, "source");
        let read = format!("{events} of {boots} of {sources}");
        match self.is_found() {
            false => format!("{read}; none is missing, altered, refused or open"),
            true => {
                let kinds: Vec<String> =
                    self.found().into_iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
                format!("{read}: {}", kinds.join(", "))
            }
        }
    }

    /// Says what keeps the month from being complete, in a sentence each.
    pub(super) fn faults(&self) -> Vec<String> {
        let left_out = self.left_out().into_iter().map(|(reason, count)| {
            let left_out = if count == 1 { "line or message" } else { "lines or messages" };
            format!("left out: {count} {left_out} ({})", reason.replace('_', " "))
        });
        let lacks = self.lacks().into_iter().map(|(reason, count)| {
            format!("not wholly there: {} ({})", plural(count, "hole"), reason.replace('_', " "))
        });
        let mut faults: Vec<String> = left_out.chain(lacks).collect();
        if self.verdict.unread {
            faults.push("a file could not be read to its end".to_owned());
        }
        faults.extend(self.report.unpriced_text());
        if self.report.cost.unconverted_calls > 0 {
            faults.push(format!("no rate for {}", plural(self.report.cost.unconverted_calls, "call")));
        }
        faults
    }

    /// The members of the manifest that say it. None depends on the order of events, on copies of them, or on where they
    /// lie.
    pub(super) fn members(&self) -> Map<String, Value> {
        let object = |counts: BTreeMap<&'static str, u64>| json!(counts);
        let boots = self.verdict.boots.iter().map(|boot| {
            json!({
                "source": boot.source, "boot": boot.boot, "state": boot.state, "events": boot.events,
                "first_sequence": boot.first_sequence, "last_sequence": boot.last_sequence,
                "settled": boot.settled, "summed": boot.summed, "open": boot.open, "refused": boot.refused,
                "last_control": boot.last_control.map(|time| time.to_string()), "last_digest": boot.last_digest,
            })
        });
        let unpriced = self.report.unpriced.models().map(|(model, found)| {
            let quantities = found.quantities.iter();
            let quantities = quantities.map(|(class, quantity)| (class.as_str().to_owned(), json!(quantity)));
            let quantities: Map<String, Value> = quantities.collect();
            json!({"model": model, "calls": found.calls, "quantities": quantities})
        });
        let proof = json!({
            "complete": self.verdict.complete,
            "events": self.verdict.events,
            "findings": object(self.found()),
            "without_digest": self.verdict.no_digest,
            "sources": self.verdict.sources,
            "boots": boots.collect::<Vec<_>>(),
        });
        let members = [
            ("complete", self.is_complete().into()),
            ("left_out", object(self.left_out())),
            ("not_there", object(self.lacks())),
            ("unpriced", unpriced.collect::<Vec<_>>().into()),
            ("unconverted_calls", self.report.cost.unconverted_calls.into()),
            ("proof", proof),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn found(&self) -> BTreeMap<&'static str, u64> {
        let count = |kind: FindingKind| {
            let found = self.verdict.findings.iter().filter(move |finding| finding.kind == kind);
            found.map(|finding| finding.events.max(1)).sum()
        };
        let counts = FindingKind::ALL.into_iter().map(|kind| (kind.as_str(), count(kind)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn left_out(&self) -> BTreeMap<&'static str, u64> {
        let omissions = &self.report.completeness.omissions;
        let counts = OmissionReason::VARIANTS.iter().map(|reason| (reason.as_str(), omissions.of(*reason)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn lacks(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for lack in &self.report.completeness.lacks {
            *counts.entry(lack.reason.as_str()).or_default() += 1;
        }
        counts
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
