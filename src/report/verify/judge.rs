//! From what was seen to what is wrong.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::VerifyOptions;
use super::bits::length;
use super::boots::{Boot, Boots, Counters, Period};
use super::findings::{BootLine, Finding, Findings, Kind, State, Verdict};
use super::remains::Remains;
use super::show::plural;

/// A boot is open until its last control event is so many intervals old.
const INTERVALS: u32 = 2;

/// Runs of positions that are named.
const RUNS_MAX: usize = 8;

/// Judges everything.
pub(super) fn judge(boots: &Boots, remains: &Remains, options: &VerifyOptions) -> Verdict {
    let mut judge = Judge { boots, remains, options, findings: Findings::default(), notes: Vec::new() };
    let mut order: Vec<usize> = (0..boots.all.len()).collect();
    order.sort_unstable_by_key(|index| (&boots.all[*index].source, &boots.all[*index].id));
    let lines: Vec<BootLine> = order.into_iter().map(|index| judge.boot(index)).collect();
    judge.lost_positions();
    judge.one_id_two_sequences();
    judge.refused();
    judge.remarks(&lines);
    let seen = boots.all.iter().map(|boot| boot.seen.count()).sum();
    let (more, findings, notes) = (judge.findings.more, judge.findings.into_vec(), judge.notes);
    Verdict {
        complete: findings.is_empty(),
        events: seen,
        repeats: boots.messages - boots.foreign - seen,
        foreign: boots.foreign,
        boots: lines,
        findings,
        findings_more: more,
        notes,
    }
}

struct Judge<'a> {
    boots: &'a Boots,
    remains: &'a Remains,
    options: &'a VerifyOptions,
    findings: Findings,
    notes: Vec<String>,
}

impl Judge<'_> {
    fn find(&mut self, kind: Kind, boot: &Boot, run: Option<(u64, u64)>, events: u64, detail: String) {
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
        let floor = self.remains.floor(boot);
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
            events: boot.seen.count(),
            first_sequence: boot.seen.first(),
            last_sequence: boot.seen.last(),
            settled: last.settled,
            summed: last.summed,
            open: last.open,
            refused: last.refused,
            degraded: boot.periods.iter().any(|period| period.control.degraded),
            uncovered: if state == State::Open { boot.uncovered } else { 0 },
        }
    }

    fn missing(&mut self, index: usize, floor: u64) {
        let boot = &self.boots.all[index];
        for run in boot.seen.gaps(floor, last_expected(boot)) {
            self.find(Kind::Missing, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    /// What came more than once: with equal bytes or not.
    fn copies(&mut self, boot: &Boot) {
        for run in boot.altered.runs() {
            let detail = "different bodies under one sequence".to_owned();
            self.find(Kind::Altered, boot, Some(run), run.1 - run.0 + 1, detail);
        }
        for run in boot.doubled.runs().filter(|_| !self.options.allow_repeats) {
            self.find(Kind::Doubled, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    /// Each control event against the rows that it covers, and against itself.
    fn periods(&mut self, index: usize, floor: u64) {
        let boot = &self.boots.all[index];
        let (mut before, mut closed) = (Counters::default(), 0);
        if boot.seen.count() == 0 {
            return self.traceless(index);
        }
        for (at, period) in boot.periods.iter().enumerate() {
            let from = if at == 0 { 1 } else { boot.periods[at - 1].sequence + 1 };
            let to = if period.writer == index { period.sequence - 1 } else { last_expected(boot) };
            let own = self.contradictions_within(period);
            if period.writer != index && period.control.last.is_none() && period.outside > 0 {
                // Whatever covered the last rows came after them, and before the boot died.
                let at = last_expected(boot) + 1;
                let detail = "the control event of the rows before it".to_owned();
                self.find(Kind::Missing, boot, Some((at, at)), 1, detail);
                continue;
            }
            let rows = match self.judgeable(boot, floor, from, to, period) {
                Judgeable::Whole => contradictions(period, &before, self.crashed(index, period)),
                Judgeable::Holes => excesses(period, &before),
                Judgeable::No => String::new(),
            };
            for detail in [own, rows].into_iter().filter(|text| !text.is_empty()) {
                let run = (from <= to).then_some((from, to));
                self.find(Kind::Altered, boot, run, period.said.events, detail);
            }
            before = period.control;
            closed += u32::from(period.control.is_final);
        }
        if closed > 1 {
            let detail = format!("{closed} control events call themselves the last one");
            self.find(Kind::Altered, boot, None, 0, detail);
        }
        if closed == 1 && boot.uncovered > 0 {
            let run = boot.periods.last().zip(boot.seen.last()).map(|(last, seen)| (last.sequence + 1, seen));
            let detail = "rows after the last control event".to_owned();
            self.find(Kind::Altered, boot, run, boot.uncovered, detail);
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
            self.find(Kind::Missing, boot, None, gone, detail);
        }
    }

    fn contradictions_within(&self, period: &Period) -> String {
        let Counters { accepted, settled, open, summed, .. } = period.control;
        let sum = settled.saturating_add(open).saturating_add(summed);
        if accepted == sum {
            return String::new();
        }
        format!(
            "its control event says {accepted} accepted, but {settled} settled + {open} open + {summed} summed"
        )
    }

    /// How far the rows from `from` to `to` may be held against their control event.
    fn judgeable(&self, boot: &Boot, floor: u64, from: u64, to: u64, period: &Period) -> Judgeable {
        if from < floor || (from <= to && boot.altered.any(from, to)) {
            return Judgeable::No;
        }
        // A recovery's control event counts rows that stand in the boot that wrote it.
        let writer = &self.boots.all[period.writer];
        let recovered = std::ptr::eq(writer, boot)
            || (self.remains.floor(writer) == Some(1)
                && writer.seen.gaps(1, period.sequence).next().is_none()
                && !writer.altered.any(1, period.sequence));
        let whole = recovered && boot.seen.gaps(from, to).next().is_none();
        if whole { Judgeable::Whole } else { Judgeable::Holes }
    }

    /// Calls of a boot that the next one settled.
    fn crashed(&self, index: usize, period: &Period) -> u64 {
        if period.writer == index { 0 } else { self.boots.all[period.writer].crashed }
    }

    fn state(&mut self, boot: &Boot, floor: Option<u64>) -> State {
        if boot.periods.iter().any(|period| period.control.is_final) {
            return State::Closed;
        }
        if floor.is_none() {
            return State::Cut;
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
                self.find(Kind::Open, boot, None, boot.uncovered, detail);
            }
            return State::Open;
        }
        self.find(Kind::NeverClosed, boot, None, boot.uncovered, detail);
        State::NeverClosed
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
        let lost = length(self.remains.lost.iter().copied());
        let missing = self.findings.events(Kind::Missing);
        if lost <= missing {
            return;
        }
        let runs: Vec<String> =
            self.remains.lost.iter().take(RUNS_MAX).map(|(first, last)| run_text(*first, *last)).collect();
        let more = if self.remains.lost.len() > RUNS_MAX { " and others" } else { "" };
        self.findings.add(Finding {
            kind: Kind::Missing,
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
                self.find(Kind::Altered, &boots.all[b.boot], Some((b.sequence, b.sequence)), 1, detail);
            }
        }
        if boots.suspects_more > 0 {
            self.notes.push(format!("{} more ids may stand under two sequences", boots.suspects_more));
        }
    }

    /// What the broker refused: by name from a ledger, else as the control events count it.
    fn refused(&mut self) {
        for refused in &self.remains.refused {
            self.findings.add(Finding {
                kind: Kind::Refused,
                source: refused.source.clone(),
                boot: refused.boot.clone(),
                first_sequence: Some(refused.sequence),
                last_sequence: Some(refused.sequence),
                events: 1,
                detail: format!("id {}: {}", refused.id, refused.reason),
            });
        }
        if !self.remains.refused.is_empty() {
            return;
        }
        for boot in &self.boots.all {
            let refused = boot.periods.last().map_or(0, |period| period.control.refused);
            if refused > 0 {
                let detail = "its ledger has them: `tokenweir events --refused`".to_owned();
                self.find(Kind::Refused, boot, None, refused, detail);
            }
        }
    }

    fn remarks(&mut self, lines: &[BootLine]) {
        let mut say = |text: String| self.notes.push(text);
        if let Some(why) = &self.remains.why {
            say(format!("the beginning is not judged: {why}"));
        }
        let uncovered: u64 = lines.iter().map(|line| line.uncovered).sum();
        if uncovered > 0 {
            say(format!("not covered yet: {} without a control event so far", plural(uncovered, "event")));
        }
        let open: u64 = lines.iter().filter(|line| line.state == State::Open).map(|line| line.open).sum();
        if open > 0 {
            say(format!("{} open when the boot last said so", plural(open, "call")));
        }
        let degraded = lines.iter().filter(|line| line.degraded).count();
        let summed: u64 = lines.iter().map(|line| line.summed).sum();
        if degraded > 0 || summed > 0 {
            let (boots, calls) = (plural(degraded as u64, "boot"), plural(summed, "call"));
            say(format!("degraded: {boots} could not store every event at once; {calls} only in sums"));
        }
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
fn last_expected(boot: &Boot) -> u64 {
    let said = boot.periods.iter().filter_map(|period| period.control.last).max();
    boot.seen.last().max(said).unwrap_or(0)
}

/// What the rows count, in the words and the order of the control event; each with what that says.
fn numbers(period: &Period, before: &Counters) -> [(&'static str, u64, u64); 5] {
    let (said, found, control) = (&period.said, &period.found, &period.control);
    [
        ("events", found.events, said.events),
        ("input tokens", found.tokens.input, said.tokens.input),
        ("output tokens", found.tokens.output, said.tokens.output),
        ("calls settled", period.settled, control.settled.saturating_sub(before.settled)),
        ("calls summed", period.summed, control.summed.saturating_sub(before.summed)),
    ]
}

/// Where the rows and their control event differ.
fn contradictions(period: &Period, before: &Counters, crashed: u64) -> String {
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
fn excesses(period: &Period, before: &Counters) -> String {
    let mut text = String::new();
    for (what, found, said) in numbers(period, before).into_iter().filter(|(_, found, said)| found > said) {
        differ(&mut text, what, found, said);
    }
    text
}

fn differ(text: &mut String, what: &str, found: u64, said: u64) {
    let separator = if text.is_empty() { "" } else { "; " };
    let _ = write!(text, "{separator}{what}: rows {found}, control event {said}");
}

/// `7` or `7 to 9`.
pub(super) fn run_text(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}
