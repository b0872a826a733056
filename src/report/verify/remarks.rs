//! Findings and remarks that are about the input as a whole.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::checks::Checker;
use super::findings::{BootLine, BootState, Finding, FindingKind, plural};
use super::sequences::{gaps, length, run_text};
use crate::report::bills::{repeats_text, unknown_text};

/// Runs of positions that are named.
const RUNS_MAX: usize = 8;

impl Checker<'_> {
    /// Ledgers of which there must be events.
    pub(super) fn expected_sources(&mut self) {
        let expected: BTreeSet<&str> = self.options.expected_sources.iter().map(String::as_str).collect();
        let boots = &self.boots.all;
        let speaking: BTreeSet<&str> =
            boots.iter().filter(|boot| boot.is_in_range).map(|boot| boot.source.as_str()).collect();
        let known: BTreeSet<&str> = boots.iter().map(|boot| boot.source.as_str()).collect();
        for source in expected.difference(&speaking) {
            let detail = match known.contains(source) {
                true => format!("{source} has no event in this time"),
                false => format!("{source} has no event here at all"),
            };
            self.findings.add(Finding {
                kind: FindingKind::Silent,
                source: (*source).to_owned(),
                boot: String::new(),
                first_sequence: None,
                last_sequence: None,
                events: 0,
                detail,
            });
        }
        let others = speaking.difference(&expected).count() as u64;
        if others > 0 && !expected.is_empty() {
            self.notes.push(format!(
                "not expected: {} that --expect-sources does not name",
                plural(others, "source")
            ));
        }
    }

    /// Sequences that are missing, also outside of the range.
    fn missing_of_all_boots(&self) -> u64 {
        if self.options.from.or(self.options.to).is_none() {
            return self.findings.events(FindingKind::Missing);
        }
        let boots = self.boots.all.iter().filter_map(|boot| Some((boot, self.horizon.floor(boot)?)));
        boots.map(|(boot, floor)| length(gaps(&boot.seen, floor, boot.last_expected()))).sum()
    }

    /// Positions of a ledger without an event, where gaps in the sequences do not say so already: the
    /// boot that wrote there left no trace of it.
    pub(super) fn lost_positions(&mut self) {
        let lost = length(self.horizon.lost.iter().copied());
        let missing = self.missing_of_all_boots();
        if lost <= missing {
            return;
        }
        let runs: Vec<String> =
            self.horizon.lost.iter().take(RUNS_MAX).map(|(first, last)| run_text(*first, *last)).collect();
        let more = if self.horizon.lost.len() > RUNS_MAX { " and others" } else { "" };
        self.findings.add(Finding {
            kind: FindingKind::Missing,
            source: String::new(),
            boot: String::new(),
            first_sequence: None,
            last_sequence: None,
            events: lost - missing,
            detail: format!("in all, the ledger holds nothing at positions {}{more}", runs.join(", ")),
        });
    }

    pub(super) fn one_id_two_sequences(&mut self) {
        let boots = self.boots;
        for pair in boots.sightings.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            if (&a.source, &a.id) == (&b.source, &b.id) {
                let other = &boots.all[a.boot];
                let detail =
                    format!("id {} stands also at sequence {} of boot {}", b.id, a.sequence, other.id);
                self.find(
                    FindingKind::Altered,
                    &boots.all[b.boot],
                    Some((b.sequence, b.sequence)),
                    1,
                    detail,
                );
            }
        }
        if boots.suspects_more > 0 {
            self.notes.push(format!("{} more ids may stand under two sequences", boots.suspects_more));
        }
    }

    /// Events that the broker refused: by name from a ledger, else as the control events count them.
    pub(super) fn refused(&mut self, lines: &[BootLine]) {
        let is_in_range = |time: Option<Timestamp>| time.is_none_or(|time| self.options.is_in_range(time));
        for refused in self.horizon.refused.iter().filter(|refused| is_in_range(refused.time)) {
            self.findings.add(Finding {
                kind: FindingKind::Refused,
                source: refused.source.clone(),
                boot: refused.boot.clone(),
                first_sequence: Some(refused.sequence),
                last_sequence: Some(refused.sequence),
                events: 1,
                detail: format!("id {}: {}", refused.id, refused.reason),
            });
        }
        if !self.horizon.refused.is_empty() {
            return;
        }
        for line in lines.iter().filter(|line| line.refused > 0) {
            self.findings.add(Finding {
                kind: FindingKind::Refused,
                source: line.source.clone(),
                boot: line.boot.clone(),
                first_sequence: None,
                last_sequence: None,
                events: line.refused,
                detail: "its ledger has them: `tokenweir events --refused`".to_owned(),
            });
        }
    }

    pub(super) fn remarks(&mut self, lines: &[BootLine]) {
        let (no_digest, re_rendered, beyond) = (self.no_digest, self.re_rendered, self.beyond);
        let mut say = |text: String| self.notes.push(text);
        if beyond > 0 {
            say(format!("outside of the range: {}", plural(beyond, "boot")));
        }
        if no_digest > 0 {
            let controls = plural(no_digest, "control event");
            say(format!(
                "no digest: {controls} of schema 1.0; altered payers, models and the like cannot be seen in what they cover"
            ));
        }
        if re_rendered > 0 {
            let events = plural(re_rendered, "event");
            say(format!(
                "re-rendered: {events} in other bytes than they were stored; the digests prove what they say"
            ));
        }
        for why in &self.horizon.why {
            say(format!("the beginning is not judged: {why}"));
        }
        let uncovered: u64 = lines.iter().map(|line| line.uncovered).sum();
        if uncovered > 0 {
            say(format!("not covered yet: {} without a control event so far", plural(uncovered, "event")));
        }
        let open: u64 = lines.iter().filter(|line| line.state == BootState::Open).map(|line| line.open).sum();
        if open > 0 {
            say(format!("{} open when the boot last said so", plural(open, "call")));
        }
        let degraded = lines.iter().filter(|line| line.degraded).count();
        let summed: u64 = lines.iter().map(|line| line.summed).sum();
        if degraded > 0 || summed > 0 {
            let (boots, calls) = (plural(degraded as u64, "boot"), plural(summed, "call"));
            say(format!("degraded: {boots} could not store every event at once; {calls} only in sums"));
        }
        let bills = &self.boots.bills;
        repeats_text(bills.repeats).into_iter().chain(unknown_text(bills.unknown)).for_each(&mut say);
        if self.boots.foreign > 0 {
            let messages = plural(self.boots.foreign, "message");
            say(format!("left out: {messages} not of tokenweir, or not whole"));
        }
    }
}
