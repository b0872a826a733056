//! From what was seen to what is wrong.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::SealState;

use super::boot_index::{BootIndex, BootRecord};
use super::digests::{self, Fault};
use super::findings::{BootLine, BootState, Finding, FindingKind, Findings, Verdict, plural};
use super::horizon::Horizon;
use super::judged_part::JudgedPart;
use super::options::VerifyOptions;
use super::period::{Period, SaidDigest};
use super::sequences::{any_within, gaps, runs};
use super::totals::{altered, contradictions, contradictions_within, excesses};

/// A boot is open until its last control event is so many intervals old.
const INTERVALS: u32 = 2;

/// Boots that are named of those that followed on one of which nothing is left; the others are counted. An input may have a
/// quarter of a million boots, and each note is some 150 bytes.
const FOLLOWERS_MAX: u64 = 1_000;

/// Judges everything.
pub(super) fn judge(boots: &BootIndex<'_>, horizon: &Horizon, options: &VerifyOptions) -> Verdict {
    let mut judge = Checker {
        boots,
        horizon,
        options,
        findings: Findings::default(),
        notes: Vec::new(),
        no_digest: 0,
        re_rendered: 0,
        beyond: 0,
        followers: 0,
    };
    let mut order: Vec<usize> = (0..boots.all.len()).collect();
    order.sort_unstable_by_key(|index| (&boots.all[*index].source, &boots.all[*index].id));
    let mut oldest = HashMap::new();
    for index in &order {
        let boot = &boots.all[*index];
        let has_events = !boot.is_traceless();
        has_events.then(|| oldest.entry(boot.source.as_str()).or_insert(*index));
    }
    let lines: Vec<BootLine> = order
        .into_iter()
        .filter_map(|index| judge.boot(index, oldest.get(&*boots.all[index].source)))
        .collect();
    judge.lost_positions();
    judge.one_id_two_sequences();
    judge.refused(&lines);
    judge.expected_sources();
    judge.remarks(&lines);
    judge.more_followers();
    judge.verdict(lines)
}

/// Judges the boots, and holds what was found so far.
pub(super) struct Checker<'a> {
    pub(super) boots: &'a BootIndex<'a>,
    pub(super) horizon: &'a Horizon,
    pub(super) options: &'a VerifyOptions,
    pub(super) findings: Findings,
    pub(super) notes: Vec<String>,
    /// Control events without a digest.
    pub(super) no_digest: u64,
    /// Rows that were re-rendered, where that is no finding.
    pub(super) re_rendered: u64,
    /// Boots outside of the range.
    pub(super) beyond: u64,
    /// Boots that followed on one of which nothing is left.
    followers: u64,
}

impl Checker<'_> {
    pub(super) fn find(
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

    fn boot(&mut self, index: usize, oldest: Option<&usize>) -> Option<BootLine> {
        let boots = self.boots;
        let boot = &boots.all[index];
        let Some(part) = JudgedPart::of(boot, index, self.options) else {
            self.beyond += 1;
            return None;
        };
        let floor = self.horizon.floor(boot);
        if let Some(floor) = floor {
            self.missing(boot, floor.max(part.first), part.last);
            self.periods(index, floor, &part);
        }
        if floor == Some(1) && part.first == 1 {
            self.boot_before(index, oldest == Some(&index));
        }
        self.copies(boot, &part);
        let state = self.state(boot, floor, &part);
        let judged = &boot.periods[part.periods.clone()];
        let last = judged.last().map(|period| period.control).unwrap_or_default();
        let (skipped, events) =
            (boot.seen.rank(part.first - 1), boot.seen.range_cardinality(part.first..=part.last));
        let nth = |n: u64| if events > 0 { boot.seen.select(skipped + n) } else { None };
        Some(BootLine {
            source: boot.source.clone(),
            boot: boot.id.clone(),
            state,
            events,
            first_sequence: nth(0),
            last_sequence: nth(events.saturating_sub(1)),
            first: boot.began,
            last_control: judged.iter().filter_map(|period| period.time).max(),
            last_digest: judged.last().and_then(|period| period.proof.digest.said()),
            settled: last.settled,
            summed: last.summed,
            open: last.open,
            refused: last.refused,
            degraded: judged.iter().any(|period| period.control.degraded),
            uncovered: if state == BootState::Open && part.has_tail { boot.uncovered } else { 0 },
        })
    }

    fn verdict(self, lines: Vec<BootLine>) -> Verdict {
        let Checker { boots, options, no_digest, .. } = self;
        let seen: u64 = boots.all.iter().map(|boot| boot.seen.len()).sum();
        let mut sources: Vec<String> = lines.iter().map(|line| line.source.clone()).collect();
        sources.dedup();
        let first = lines.iter().filter_map(|line| line.first).min();
        let last = lines.iter().filter_map(|line| boots.latest(&line.source, &line.boot)).max();
        let (more, findings, notes) = (self.findings.more, self.findings.into_vec(), self.notes);
        Verdict {
            complete: findings.is_empty(),
            from: options.from,
            to: options.to,
            first: first.max(options.from.filter(|_| first.is_some())),
            last: last.map(|last| options.to.map_or(last, |to| last.min(to))),
            sources,
            no_digest,
            events: lines.iter().map(|line| line.events).sum(),
            repeats: boots.messages - boots.foreign - seen,
            repeated_bills: boots.bills.repeats,
            foreign: boots.foreign,
            boots: lines,
            findings,
            findings_more: more,
            unread: false,
            is_cut: false,
            content: None,
            notes,
        }
    }

    fn missing(&mut self, boot: &BootRecord, first: u64, last: u64) {
        for run in gaps(&boot.seen, first, last) {
            self.find(FindingKind::Missing, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    /// Judges a boot of which nothing is left, and which the next one names. The first boot of an input may have followed
    /// on others that never came to it.
    fn boot_before(&mut self, index: usize, is_oldest: bool) {
        let boots = self.boots;
        let boot = &boots.all[index];
        let Some(before) = boot.boot_before.as_ref().and_then(|(_, before)| before.as_ref()) else { return };
        if *before == boot.id {
            return self.last_control_gone(boot);
        }
        let known = boots.find(&boot.source, before).filter(|index| !boots.all[*index].is_traceless());
        if let Some(before) = known {
            return self.chain_of_boots(index, before);
        }
        let may_touch = self.options.from.zip(boot.began).is_none_or(|(from, began)| from < began);
        if is_oldest || self.horizon.is_ragged || !may_touch {
            let known = if is_oldest { "" } else { " here" };
            self.followers += 1;
            if self.followers > FOLLOWERS_MAX {
                return;
            }
            return self.notes.push(format!(
                "{} boot {} followed on boot {before}, of which nothing is{known} to be judged",
                boot.source, boot.id
            ));
        }
        let detail = format!("boot {before}, which ran before it, is gone as a whole");
        self.find(FindingKind::Missing, boot, None, 1, detail);
    }

    fn more_followers(&mut self) {
        if let Some(more @ 1..) = self.followers.checked_sub(FOLLOWERS_MAX) {
            self.notes
                .push(format!("{more} more boots followed on one of which nothing is left to be judged"));
        }
    }

    /// The control event that the next boot wrote names one of this boot that is not there. If no sequence is missing, it
    /// was the last event before the boot died.
    fn last_control_gone(&mut self, boot: &BootRecord) {
        let at = boot.last_expected() + 1;
        let has_gap = !boot.seen.contains_range(self.horizon.floor(boot).unwrap_or(at)..at);
        if !has_gap && boot.periods.first().is_some_and(|first| first.rows.outside == 0) {
            let detail = "the control event that the next boot names".to_owned();
            self.find(FindingKind::Missing, boot, Some((at, at)), 1, detail);
        }
    }

    /// The last control event of the boot before, as the first one of this boot names it.
    fn chain_of_boots(&mut self, index: usize, before: usize) {
        let boots = self.boots;
        let (boot, before) = (&boots.all[index], &boots.all[before]);
        let is_final = |period: &&Period| period.control.is_final;
        let Some((last, first)) = before.periods.last().filter(is_final).zip(boot.periods.first()) else {
            return;
        };
        if let Some((kind, events, detail)) = digests::of_chain(last, first) {
            self.find(kind, before, None, events, detail);
        }
    }

    /// Events that came more than once, with equal bytes or not.
    fn copies(&mut self, boot: &BootRecord, part: &JudgedPart) {
        let within = |(first, last): (u64, u64)| {
            let (first, last) = (first.max(part.first), last.min(part.last));
            (first <= last).then_some((first, last))
        };
        for run in runs(&boot.altered).filter_map(within) {
            let detail = "different bodies under one sequence".to_owned();
            self.find(FindingKind::Altered, boot, Some(run), run.1 - run.0 + 1, detail);
        }
        for run in runs(&boot.re_rendered).filter_map(within) {
            let detail = "copies under one sequence, some of which were re-rendered".to_owned();
            self.re_rendered(boot, Some(run), run.1 - run.0 + 1, detail);
        }
        for run in runs(&boot.doubled).filter(|_| !self.options.allow_repeats).filter_map(within) {
            self.find(FindingKind::Doubled, boot, Some(run), run.1 - run.0 + 1, String::new());
        }
    }

    fn re_rendered(&mut self, boot: &BootRecord, run: Option<(u64, u64)>, events: u64, detail: String) {
        if self.options.allow_re_rendered {
            self.re_rendered += events;
        } else {
            self.find(FindingKind::ReRendered, boot, run, events, detail);
        }
    }

    /// Each control event against the rows that it covers, against the one before it, and against itself.
    fn periods(&mut self, index: usize, floor: u64, part: &JudgedPart) {
        let boot = &self.boots.all[index];
        let start = part.periods.start;
        let (mut before, mut closed) = (start.checked_sub(1).map(|at| &boot.periods[at]), 0);
        if boot.seen.is_empty() {
            return self.traceless(index);
        }
        let has_digests = digests::has_digests(boot, index);
        for period in &boot.periods[part.periods.clone()] {
            let from = before.map_or(1, |before| before.sequence + 1);
            let is_own = period.writer == index;
            let to = if is_own { period.sequence - 1 } else { boot.last_expected() };
            if !is_own && period.control.last.is_none() && period.rows.outside > 0 {
                // The event that covered the last rows came after them, and before the boot died.
                let at = boot.last_expected() + 1;
                let detail = "the control event of the rows before it".to_owned();
                self.find(FindingKind::Missing, boot, Some((at, at)), 1, detail);
                continue;
            }
            let mut faults = vec![digests::of_seals(period), contradictions_within(period)];
            if is_own && has_digests {
                faults.push(digests::of_absence(period));
            }
            let counters = before.map(|before| before.control).unwrap_or_default();
            match self.judgeable(boot, floor, from, to, period) {
                Judgeable::Whole => {
                    let differ = contradictions(period, &counters, self.crashed(index, period));
                    faults.extend([altered(period, differ), digests::of_rows(period)]);
                    let chain = before.and_then(|before| digests::of_chain(before, period));
                    let are_whole = before.is_some_and(digests::is_sealed) && digests::is_sealed(period);
                    if chain.is_some() && !is_own && from > to && are_whole {
                        self.last_control_gone(boot);
                    } else {
                        faults.push(chain);
                    }
                }
                Judgeable::Holes => faults.push(altered(period, excesses(period, &counters))),
                Judgeable::No => {}
            }
            self.no_digest += u64::from(period.proof.digest == SaidDigest::Absent);
            self.faults(boot, (from <= to).then_some((from, to)), faults.into_iter().flatten().collect());
            before = Some(period);
            closed += u32::from(period.control.is_final);
        }
        self.unsigned(boot, &boot.periods[part.periods.clone()]);
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

    /// One finding of each kind for a control period.
    fn faults(&mut self, boot: &BootRecord, run: Option<(u64, u64)>, faults: Vec<Fault>) {
        // A fault is told once: as forged, if any of it is.
        let worst =
            faults.iter().map(|(kind, ..)| *kind).filter(|kind| *kind != FindingKind::ReRendered).max();
        let (re_rendered, wrong): (Vec<Fault>, Vec<Fault>) =
            faults.into_iter().partition(|(kind, ..)| *kind == FindingKind::ReRendered);
        for (_, events, detail) in re_rendered {
            self.re_rendered(boot, run, events, detail);
        }
        if let Some(worst) = worst {
            let events = wrong.iter().map(|(_, events, _)| *events).max().unwrap_or(0);
            let details: Vec<String> = wrong.into_iter().map(|(.., detail)| detail).collect();
            self.find(worst, boot, run, events, details.join("; "));
        }
    }

    /// Control events without a signature that can be checked, although there is a key.
    fn unsigned(&mut self, boot: &BootRecord, judged: &[Period]) {
        if self.options.control_key.is_none() {
            return;
        }
        for (state, why) in
            [(SealState::Absent, "no signature"), (SealState::OtherKey, "a signature by another key")]
        {
            let count = judged.iter().filter(|period| period.proof.hmac == state).count() as u64;
            if count > 0 {
                let detail = format!("{} with {why}", plural(count, "control event"));
                self.find(FindingKind::Unsigned, boot, None, count, detail);
            }
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

    fn state(&mut self, boot: &BootRecord, floor: Option<u64>, part: &JudgedPart) -> BootState {
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
        let state = if self.is_young(sign) { BootState::Open } else { BootState::NeverClosed };
        if !part.has_tail {
            return state; // what follows on the range is not judged
        }
        if state == BootState::NeverClosed {
            self.find(FindingKind::NeverClosed, boot, None, boot.uncovered, detail);
        } else if let Some((sign, as_of)) =
            sign.zip(self.options.as_of).filter(|(sign, as_of)| self.is_old(*sign, *as_of))
        {
            let detail =
                format!("it should still run, and said nothing from {sign:.3} to {as_of:.3}; {detail}");
            self.find(FindingKind::Silent, boot, None, boot.uncovered, detail);
        } else if !self.options.allow_open {
            self.find(FindingKind::Open, boot, None, boot.uncovered, detail);
        }
        state
    }

    /// Less than two control intervals older than the newest event.
    fn is_young(&self, sign: Option<Timestamp>) -> bool {
        sign.zip(self.boots.newest).is_none_or(|(sign, newest)| !self.is_old(sign, newest))
    }

    /// Two control intervals have passed between two instants.
    fn is_old(&self, sign: Timestamp, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(sign)).unwrap_or(Duration::ZERO);
        age >= self.options.control_interval.saturating_mul(INTERVALS)
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
