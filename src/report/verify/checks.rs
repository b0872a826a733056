//! From what was seen to what is wrong.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{Unit, Units};
use strum::VariantArray;

use super::boot_index::{BootIndex, BootRecord, ControlCounters, Period};
use super::findings::{BootLine, BootState, Finding, FindingKind, Findings, Verdict, plural, run_text};
use super::horizon::Horizon;
use super::options::VerifyOptions;
use super::sequences::{any_within, gaps, length, runs};
use crate::report::bills::{repeats_text, unknown_text};

/// A boot is open until its last control event is so many intervals old.
const INTERVALS: u32 = 2;

/// Runs of positions that are named.
const RUNS_MAX: usize = 8;

/// Judges everything.
pub(super) fn judge(boots: &BootIndex, horizon: &Horizon, options: &VerifyOptions) -> Verdict {
    let mut judge = Checker { boots, horizon, options, findings: Findings::default(), notes: Vec::new() };
    let mut order: Vec<usize> = (0..boots.all.len()).collect();
    order.sort_unstable_by_key(|index| (&boots.all[*index].source, &boots.all[*index].id));
    let lines: Vec<BootLine> = order.into_iter().map(|index| judge.boot(index)).collect();
    judge.lost_positions();
    judge.one_id_two_sequences();
    judge.refused();
    judge.remarks(&lines);
    let seen = boots.all.iter().map(|boot| boot.seen.len()).sum();
    let (more, findings, notes) = (judge.findings.more, judge.findings.into_vec(), judge.notes);
    Verdict {
        complete: findings.is_empty(),
        events: seen,
        repeats: boots.messages - boots.foreign - seen,
        repeated_bills: boots.bills.repeats,
        foreign: boots.foreign,
        boots: lines,
        findings,
        findings_more: more,
        notes,
    }
}

struct Checker<'a> {
    boots: &'a BootIndex,
    horizon: &'a Horizon,
    options: &'a VerifyOptions,
    findings: Findings,
    notes: Vec<String>,
}

impl Checker<'_> {
    fn find(
        &mut self,
        kind: FindingKind,
        boot: &BootRecord,
        run: Option<(u64, u64)>,
        events: u64,
        detail: String,
    ) {
        self.findings.add(Finding {
            kind,
            source: boot.source.clone(),
            boot: boot.id.clone(),
            first_sequence: run.map(|(first, _)| first),
            last_sequence: run.map(|(_, last)| last),
            events,
            detail,
        });
    }

    fn boot(&mut self, index: usize) -> BootLine {
        let boots = self.boots;
        let boot = &boots.all[index];
        let floor = self.horizon.floor(boot);
        if let Some(floor) = floor {
            self.missing(index, floor);
            self.periods(index, floor);
        }
        self.copies(boot);
        let state = self.state(boot, floor);
        let last = boot.periods.last().map(|period| period.control).unwrap_or_default();
        BootLine {
            source: boot.source.clone(),
            boot: boot.id.clone(),
            state,
            events: boot.seen.len(),
            first_sequence: boot.seen.min(),
            last_sequence: boot.seen.max(),
            settled: last.settled,
            summed: last.summed,
            open: last.open,
            refused: last.refused,
            degraded: boot.periods.iter().any(|period| period.control.degraded),
            uncovered: if state == BootState::Open { boot.uncovered } else { 0 },
        }
    }

    fn missing(&mut self, index: usize, floor: u64) {
        let boot = &self.boots.all[index];
        for run in gaps(&boot.seen, floor, last_expected(boot)) {
            self.find(FindingKind::Missing, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    /// Events that came more than once, with equal bytes or not.
    fn copies(&mut self, boot: &BootRecord) {
        for run in runs(&boot.altered) {
            let detail = "different bodies under one sequence".to_owned();
            self.find(FindingKind::Altered, boot, Some(run), run.1 - run.0 + 1, detail);
        }
        for run in runs(&boot.doubled).filter(|_| !self.options.allow_repeats) {
            self.find(FindingKind::Doubled, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    /// Each control event against the rows that it covers, and against itself.
    fn periods(&mut self, index: usize, floor: u64) {
        let boot = &self.boots.all[index];
        let (mut before, mut closed) = (ControlCounters::default(), 0);
        if boot.seen.is_empty() {
            return self.traceless(index);
        }
        for (at, period) in boot.periods.iter().enumerate() {
            let from = if at == 0 { 1 } else { boot.periods[at - 1].sequence + 1 };
            let to = if period.writer == index { period.sequence - 1 } else { last_expected(boot) };
            let own = self.contradictions_within(period);
            if period.writer != index && period.control.last.is_none() && period.outside > 0 {
                // The event that covered the last rows came after them, and before the boot died.
                let at = last_expected(boot) + 1;
                let detail = "the control event of the rows before it".to_owned();
                self.find(FindingKind::Missing, boot, Some((at, at)), 1, detail);
                continue;
            }
            let rows = match self.judgeable(boot, floor, from, to, period) {
                Judgeable::Whole => contradictions(period, &before, self.crashed(index, period)),
                Judgeable::Holes => excesses(period, &before),
                Judgeable::No => String::new(),
            };
            for detail in [own, rows].into_iter().filter(|text| !text.is_empty()) {
                let run = (from <= to).then_some((from, to));
                self.find(FindingKind::Altered, boot, run, period.said.events, detail);
            }
            before = period.control;
            closed += u32::from(period.control.is_final);
        }
        if closed > 1 {
            let detail = format!("{closed} control events call themselves the last one");
            self.find(FindingKind::Altered, boot, None, 0, detail);
        }
        if closed == 1 && boot.uncovered > 0 {
            let run = boot.periods.last().zip(boot.seen.max()).map(|(last, seen)| (last.sequence + 1, seen));
            let detail = "rows after the last control event".to_owned();
            self.find(FindingKind::Altered, boot, run, boot.uncovered, detail);
        }
    }

    /// A boot without a row, of which only the control event tells that the next one wrote.
    fn traceless(&mut self, index: usize) {
        let boot = &self.boots.all[index];
        let Some(last) = boot.periods.last() else { return };
        let told = last.control.settled.saturating_add(last.control.summed);
        let gone = told.saturating_sub(self.crashed(index, last));
        if gone > 0 && last.control.last.is_none() {
            let detail =
                format!("its last control event counts {told} calls, of which {gone} have no event here");
            self.find(FindingKind::Missing, boot, None, gone, detail);
        }
    }

    fn contradictions_within(&self, period: &Period) -> String {
        let ControlCounters { accepted, settled, open, summed, .. } = period.control;
        let sum = settled.saturating_add(open).saturating_add(summed);
        if accepted == sum {
            return String::new();
        }
        format!(
            "its control event says {accepted} accepted, but {settled} settled + {open} open + {summed} summed"
        )
    }

    /// How far the rows from `from` to `to` may be held against their control event.
    fn judgeable(&self, boot: &BootRecord, floor: u64, from: u64, to: u64, period: &Period) -> Judgeable {
        if from < floor || (from <= to && any_within(&boot.altered, from, to)) {
            return Judgeable::No;
        }
        // A recovery's control event counts rows that stand in the boot that wrote it.
        let writer = &self.boots.all[period.writer];
        let recovered = std::ptr::eq(writer, boot)
            || (self.horizon.floor(writer) == Some(1)
                && writer.seen.contains_range(1..=period.sequence)
                && !any_within(&writer.altered, 1, period.sequence));
        let whole = recovered && boot.seen.contains_range(from..=to);
        if whole { Judgeable::Whole } else { Judgeable::Holes }
    }

    /// Calls of a boot that the next one settled.
    fn crashed(&self, index: usize, period: &Period) -> u64 {
        if period.writer == index { 0 } else { self.boots.all[period.writer].crashed }
    }

    fn state(&mut self, boot: &BootRecord, floor: Option<u64>) -> BootState {
        if boot.periods.iter().any(|period| period.control.is_final) {
            return BootState::Closed;
        }
        if floor.is_none() {
            return BootState::Cut;
        }
        let last = boot.periods.last();
        let sign = last.and_then(|period| period.time).or(boot.began);
        let uncovered = plural(boot.uncovered, "event");
        let detail = match last {
            Some(last) => {
                format!(
                    "{} open at its last control event, {uncovered} after it",
                    plural(last.control.open, "call")
                )
            }
            None => format!("no control event yet, {uncovered}"),
        };
        if self.is_young(sign) {
            if !self.options.allow_open {
                self.find(FindingKind::Open, boot, None, boot.uncovered, detail);
            }
            return BootState::Open;
        }
        self.find(FindingKind::NeverClosed, boot, None, boot.uncovered, detail);
        BootState::NeverClosed
    }

    /// Less than two control intervals older than the newest event.
    fn is_young(&self, sign: Option<Timestamp>) -> bool {
        let (Some(sign), Some(newest)) = (sign, self.boots.newest) else { return true };
        let age = newest.duration_since(sign);
        let age = Duration::try_from(age).unwrap_or(Duration::ZERO);
        age < self.options.control_interval.saturating_mul(INTERVALS)
    }

    /// Positions of a ledger without an event, where gaps in the sequences do not say so already: the
    /// boot that wrote there left no trace of it.
    fn lost_positions(&mut self) {
        let lost = length(self.horizon.lost.iter().copied());
        let missing = self.findings.events(FindingKind::Missing);
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

    fn one_id_two_sequences(&mut self) {
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
    fn refused(&mut self) {
        for refused in &self.horizon.refused {
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
        for boot in &self.boots.all {
            let refused = boot.periods.last().map_or(0, |period| period.control.refused);
            if refused > 0 {
                let detail = "its ledger has them: `tokenweir events --refused`".to_owned();
                self.find(FindingKind::Refused, boot, None, refused, detail);
            }
        }
    }

    fn remarks(&mut self, lines: &[BootLine]) {
        let mut say = |text: String| self.notes.push(text);
        if let Some(why) = &self.horizon.why {
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

enum Judgeable {
    /// Every row is there: all numbers must be equal.
    Whole,
    /// Rows are missing: no number may be larger.
    Holes,
    /// Retention took rows, or some have two bodies.
    No,
}

/// The last sequence that a boot must have.
fn last_expected(boot: &BootRecord) -> u64 {
    let said = boot.periods.iter().filter_map(|period| period.control.last).max();
    boot.seen.max().max(said).unwrap_or(0)
}

/// The counts of the rows, in the words and the order of the control event, each with the control event's own.
fn numbers(
    period: &Period,
    before: &ControlCounters,
) -> impl Iterator<Item = (&'static str, u64, u64)> + use<> {
    let (said, found, control) = (period.said, period.found, period.control);
    let counts = [
        ("events", found.events, said.events),
        ("input tokens", found.tokens.input, said.tokens.input),
        ("output tokens", found.tokens.output, said.tokens.output),
        ("calls settled", period.settled, control.settled.saturating_sub(before.settled)),
        ("calls summed", period.summed, control.summed.saturating_sub(before.summed)),
    ];
    let sum = |unit: Unit, units: &Units| unit.of(units).unwrap_or(0);
    let units = Unit::VARIANTS.iter();
    let units = units.map(move |unit| (unit.as_str(), sum(*unit, &found.units), sum(*unit, &said.units)));
    counts.into_iter().chain(units)
}

/// Where the rows and their control event differ.
fn contradictions(period: &Period, before: &ControlCounters, crashed: u64) -> String {
    let mut text = String::new();
    for (what, found, said) in numbers(period, before) {
        let found = if what == "calls settled" { found + crashed } else { found };
        if found != said {
            differ(&mut text, what, found, said);
        }
    }
    if period.outside > 0 {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{} rows are in no control event's range", period.outside);
    }
    text
}

/// Where the rows are more than their control event says, although some are missing.
fn excesses(period: &Period, before: &ControlCounters) -> String {
    let mut text = String::new();
    for (what, found, said) in numbers(period, before).filter(|(_, found, said)| found > said) {
        differ(&mut text, what, found, said);
    }
    text
}

fn differ(text: &mut String, what: &str, found: u64, said: u64) {
    let separator = if text.is_empty() { "" } else { "; " };
    let _ = write!(text, "{separator}{what}: rows {found}, control event {said}");
}
