//! Collects the facts of each boot, in one pass over the events, and a second one where the first leaves a question.
//!
//! The first pass sets a bit for each sequence, keeps the control events and adds up the rows between them. Its
//! memory is that of the control events, some 450 bytes each, and of the boots, 4 KiB each at most; both have a bound. A row leaves
//! nothing but its bit, and 8 bytes that stand for its id until a control event with a digest proves it; one that came twice
//! leaves 32 bytes for each copy in the second pass. That is less than a tenth of the row itself. A second pass compares copies of what came more
//! than once, which nothing but their bytes can tell apart, counts again what was too much out of order, and looks
//! what a sidecar would have written where rows are not those that were stored.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use roaring::RoaringTreemap;

use super::content::{CapturedCalls, UsageSpans};
use super::event::{SequencedEvent, hash};
use super::options::VerifyOptions;
use super::period::{Period, PeriodRows, RowsMatch, SaidDigest};
use super::row_runs::{RowRun, RowRuns};
use super::row_sums::RowSums;
use crate::report::bills::BillsSeen;
use crate::report::boot_names::{BOOTS_MAX, BootNames};
use crate::report::error::InputBound;
use crate::report::event_origin::EventOrigin;
use metering::usage::{Control, ControlKey, Outcome, StoredData, as_written};

/// Ids seen under more than one sequence that are looked at closely; beyond it they are counted.
const SUSPECTS_MAX: usize = 10_000;

/// Sightings of those; an id has two as a rule.
const SIGHTINGS_MAX: usize = 100_000;

/// Runs of rows whose control event is still to come, of all boots: 16 MiB of sums, and of memory 11 times that if each is
/// of a boot of its own. Where partitions are read so far
/// apart that there are more, a second pass adds the rows up, which knows the control events.
const RUNS_MAX: usize = 1 << 16;

/// Control events of all boots, 450 bytes each: one a minute of 190 ledgers in a month.
const CONTROLS_MAX: usize = 1 << 23;

/// Ids of rows that no digest proves, 8 bytes each: 512 MB. Only events of schema 1.0 are kept so, and what no control
/// event covers yet.
const UNPROVEN_MAX: usize = 1 << 26;

/// Copies of rows that came more than once, 32 bytes each: 512 MB.
const COPIES_MAX: usize = 1 << 24;

/// One start of one ledger.
#[derive(Debug, Default)]
pub(super) struct BootRecord {
    pub(super) source: String,
    pub(super) id: String,
    pub(super) seen: RoaringTreemap,
    /// Sequences that came more than once.
    pub(super) repeated: RoaringTreemap,
    /// Of these: whose copies are equal.
    pub(super) doubled: RoaringTreemap,
    /// Of these: whose copies say the same in other bytes.
    pub(super) re_rendered: RoaringTreemap,
    /// Of these: whose copies differ.
    pub(super) altered: RoaringTreemap,
    /// Repeated sequences that the second pass has added up.
    added: RoaringTreemap,
    /// The times of its first and its last event.
    pub(super) began: Option<Timestamp>,
    pub(super) latest: Option<Timestamp>,
    /// An event of it lies in the range that is judged.
    pub(super) is_in_range: bool,
    /// Its control events: its own in order, then the one that the next boot wrote.
    pub(super) periods: Vec<Period>,
    /// The boot before it in its ledger, as its first control event says: that event's place, and the boot.
    pub(super) boot_before: Option<((bool, u64), Option<String>)>,
    /// Places of its own control events, while rows are still to come.
    controls: BTreeSet<u64>,
    runs: RowRuns,
    /// Rows after the last control event.
    pub(super) uncovered: u64,
    /// Calls that it settled for the boot before it.
    pub(super) crashed: u64,
}

/// One copy of a sequence that came more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    pub(super) boot: usize,
    pub(super) sequence: u64,
    pub(super) body: u64,
    /// Of the bytes that the sidecar would have written.
    pub(super) written: u64,
}

/// Where an id was seen that was seen under more than one sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    pub(super) source: String,
    pub(super) id: String,
    pub(super) boot: usize,
    pub(super) sequence: u64,
}

/// The facts of every boot.
#[derive(Debug)]
pub(super) struct BootIndex<'a> {
    pub(super) options: &'a VerifyOptions,
    pub(super) all: Vec<BootRecord>,
    names: BootNames,
    /// Control events of all boots.
    controls: usize,
    /// Of rows that no digest proves.
    ids: Vec<u64>,
    suspects: HashSet<u64>,
    /// Ids under two sequences that were too many to be looked at.
    pub(super) suspects_more: u64,
    pub(super) sightings: Vec<Sighting>,
    pub(super) copies: Vec<Copy>,
    /// Runs of all boots; `None`: there were too many.
    runs: Option<usize>,
    runs_max: usize,
    unproven_max: usize,
    copies_max: usize,
    /// Calls whose content was captured, where content is verified too.
    pub(super) captured: Option<CapturedCalls>,
    /// Ledgers with usage events.
    pub(super) spans: UsageSpans,
    /// Bills of work, which several ledgers may have seen.
    pub(super) bills: BillsSeen,
    pub(super) messages: u64,
    pub(super) foreign: u64,
    pub(super) newest: Option<Timestamp>,
    /// Of each partition and ledger, the boot and the number of the first event that is still there.
    pub(super) heads: HashMap<i32, HashMap<usize, (usize, u64)>>,
}

impl<'a> BootIndex<'a> {
    pub(super) fn new(options: &'a VerifyOptions) -> BootIndex<'a> {
        BootIndex {
            options,
            all: Vec::new(),
            names: BootNames::default(),
            controls: 0,
            ids: Vec::new(),
            suspects: HashSet::new(),
            suspects_more: 0,
            sightings: Vec::new(),
            copies: Vec::new(),
            runs: Some(0),
            runs_max: RUNS_MAX,
            unproven_max: UNPROVEN_MAX,
            copies_max: COPIES_MAX,
            captured: None,
            spans: UsageSpans::default(),
            bills: BillsSeen::default(),
            messages: 0,
            foreign: 0,
            newest: None,
            heads: HashMap::new(),
        }
    }

    fn key(&self) -> Option<&'a ControlKey> {
        self.options.control_key.as_ref()
    }

    /// Takes something that lies there and cannot be read.
    pub(super) fn omit(&mut self) {
        self.messages += 1;
        self.foreign += 1;
    }

    /// Takes one message in the first pass.
    pub(super) fn note(&mut self, body: &str, place: EventOrigin<'_>) {
        self.messages += 1;
        let Some(event) = SequencedEvent::read(body) else {
            self.foreign += 1;
            return;
        };
        let index = self.index(&event.source, &event.boot);
        self.note_head(index, &event, place);
        let boot = &mut self.all[index];
        if !boot.seen.insert(event.sequence) {
            boot.repeated.insert(event.sequence);
            return;
        }
        if let Some(time) = event.time {
            boot.began = Some(boot.began.map_or(time, |began| began.min(time)));
            boot.latest = boot.latest.max(Some(time));
            boot.is_in_range |= self.options.is_in_range(time);
            self.newest = self.newest.max(Some(time));
        }
        match &event.data {
            StoredData::Call(usage, outcome) => {
                boot.crashed += u64::from(*outcome == Outcome::Crashed);
                self.bills.repeats(usage);
                if let Some(captured) = &mut self.captured {
                    captured.note(self.spans.place(&event.source), &event.id, usage, event.time);
                }
            }
            StoredData::Sum(..) => {}
            StoredData::Control(control) => return self.note_control(index, &event, control, body),
        }
        self.note_row(index, &event, RowSums::of(&event, body, self.key()));
    }

    fn note_head(&mut self, boot: usize, event: &SequencedEvent<'_>, place: EventOrigin<'_>) {
        let EventOrigin::Topic { partition, .. } = place else { return };
        if let Some(ledger) = self.names.ledger(&event.source) {
            self.heads.entry(partition).or_default().entry(ledger).or_insert((boot, event.sequence));
        }
    }

    fn note_control(&mut self, writer: usize, event: &SequencedEvent<'_>, control: &Control, body: &str) {
        self.controls += 1;
        let period = Period::new(writer, event, control, body, self.key());
        let instance = self.index(&event.source, &control.instance);
        let speaks_of = &mut self.all[instance];
        let place = (writer != instance, event.sequence);
        if speaks_of.boot_before.as_ref().is_none_or(|(first, _)| place < *first) {
            speaks_of.boot_before = Some((place, control.previous_instance.clone()));
        }
        speaks_of.periods.push(period);
        if writer != instance {
            // Of the boot that wrote it, it is one more row in the sequence, which counts nothing.
            return self.note_row(writer, event, RowSums::default());
        }
        speaks_of.controls.insert(event.sequence);
        self.ids.push(event.id_hash());
        if self.runs.is_some() {
            self.let_go(writer, event.sequence.checked_sub(1), None);
            self.let_go(writer, None, Some(event.sequence + 1));
        }
    }

    fn note_row(&mut self, index: usize, event: &SequencedEvent<'_>, sums: RowSums) {
        let Some(runs) = self.runs else {
            return self.ids.push(event.id_hash());
        };
        let boot = &mut self.all[index];
        let before = boot.runs.len();
        let (first, last) = boot.runs.add(event.sequence, sums, event.id_hash());
        let runs = runs + boot.runs.len() - before;
        self.runs = Some(runs);
        if boot.controls.last() > Some(&last) {
            self.let_go(index, Some(last), Some(first));
        }
        if runs > self.runs_max {
            self.give_up_runs();
        }
    }

    /// Keeps no more of a run than its sums, if the control events around it are there.
    fn let_go(&mut self, index: usize, last: Option<u64>, first: Option<u64>) {
        let boot = &mut self.all[index];
        let first = first.or_else(|| boot.runs.ending_at(last?));
        let Some(first) = first else { return };
        let Some(last) = last.or_else(|| boot.runs.beginning_at(first)) else { return };
        let begins = first == 1 || boot.controls.contains(&(first - 1));
        if !begins || !boot.controls.contains(&(last + 1)) {
            return;
        }
        let Some(RowRun { sums, ids, .. }) = boot.runs.take(first) else { return };
        self.runs = self.runs.map(|runs| runs - 1);
        let is_own = |period: &&mut Period| period.writer == index && period.sequence == last + 1;
        let Some(period) = boot.periods.iter_mut().rev().find(is_own) else { return };
        period.take(&sums);
        if period.proof.digest == SaidDigest::Absent {
            self.ids.extend(ids);
        }
    }

    /// There are too many runs: a second pass adds all rows up.
    fn give_up_runs(&mut self) {
        self.runs = None;
        for boot in &mut self.all {
            self.ids.extend(boot.runs.take_all().flat_map(|run| run.ids));
        }
    }

    /// Ends the first pass.
    pub(super) fn sort(&mut self) {
        for (index, boot) in self.all.iter_mut().enumerate() {
            boot.periods.sort_unstable_by_key(|period| (period.writer != index, period.sequence));
            let rest: Vec<RowRun> = boot.runs.take_all().collect();
            for run in rest {
                boot.take(index, run.last, &run.sums);
                self.ids.extend(run.ids);
            }
        }
        let mut ids = std::mem::take(&mut self.ids);
        ids.sort_unstable();
        for pair in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
            if self.suspects.len() < SUSPECTS_MAX {
                self.suspects.insert(pair[0]);
            } else if !self.suspects.contains(&pair[0]) {
                self.suspects_more += 1;
            }
        }
    }

    /// Whether the first pass has left a question that another one can answer.
    pub(super) fn asks_for_a_second_pass(&self) -> bool {
        let is_open = |boot: &BootRecord| {
            !boot.repeated.is_empty() || boot.periods.iter().any(|period| period.rows.uncertain)
        };
        self.runs.is_none()
            || !self.suspects.is_empty()
            || self.all.iter().any(is_open)
            || self.asks_what_was_written()
    }

    /// Whether rows that are all there are not those that were stored, and nobody has looked yet at what a sidecar
    /// would have written for them.
    pub(super) fn asks_what_was_written(&self) -> bool {
        let mut periods = self.all.iter().flat_map(|boot| &boot.periods);
        periods.any(|period| period.rows.written.is_none() && is_unlike(period))
    }

    /// Begins another pass.
    pub(super) fn begin_again(&mut self) {
        let counted = self.runs.is_some();
        (self.heads, self.copies, self.sightings) = Default::default();
        // From here on rows are added to the control events at once.
        self.runs = Some(0);
        for boot in &mut self.all {
            (boot.uncovered, boot.crashed, boot.added) = Default::default();
            for period in &mut boot.periods {
                let asked = period.rows.written.is_some() || (counted && is_unlike(period));
                let written = asked.then(Default::default);
                period.rows = PeriodRows { written, ..PeriodRows::default() };
            }
        }
    }

    /// Takes one message in a later pass.
    pub(super) fn add(&mut self, body: &str, place: EventOrigin<'_>) {
        let Some(event) = SequencedEvent::read(body) else { return };
        let Some(index) = self.find(&event.source, &event.boot) else { return };
        self.note_head(index, &event, place);
        let key = self.key();
        let Some(boot) = self.all.get_mut(index) else { return };
        if boot.repeated.contains(event.sequence) {
            let written = as_written(body).map_or_else(|| hash(&body), |written| hash(&written.as_str()));
            self.copies.push(Copy { boot: index, sequence: event.sequence, body: hash(&body), written });
            if !boot.added.insert(event.sequence) {
                return;
            }
        }
        if let StoredData::Call(_, Outcome::Crashed) = &event.data {
            boot.crashed += 1;
        }
        if let Some(period) = boot.take(index, event.sequence, &RowSums::of(&event, body, key))
            && !matches!(event.data, StoredData::Control(_))
        {
            period.take_written(event.sequence, body, key);
        }
        let room = self.sightings.len() < SIGHTINGS_MAX;
        if room && !self.suspects.is_empty() && self.suspects.contains(&event.id_hash()) {
            let (source, id) = (event.source.into_owned(), event.id.into_owned());
            self.sightings.push(Sighting { source, id, boot: index, sequence: event.sequence });
        }
    }

    /// Ends a later pass: which copies differ, and which ids really are the same.
    pub(super) fn compare(&mut self) {
        self.copies.sort_unstable();
        for same in self.copies.chunk_by(|a, b| (a.boot, a.sequence) == (b.boot, b.sequence)) {
            let boot = &mut self.all[same[0].boot];
            let kind = if same.iter().all(|copy| copy.body == same[0].body) {
                &mut boot.doubled
            } else if same.iter().all(|copy| copy.written == same[0].written) {
                &mut boot.re_rendered
            } else {
                &mut boot.altered
            };
            kind.insert(same[0].sequence);
        }
        self.sightings.sort_unstable();
    }

    /// The time that the usage events of each ledger cover.
    pub(super) fn usage_spans(&mut self) -> UsageSpans {
        let mut spans = std::mem::take(&mut self.spans);
        for boot in &self.all {
            let place = spans.place(&boot.source);
            let span = &mut spans.by_place[place];
            span.first = span.first.into_iter().chain(boot.began).min();
            span.last = span.last.max(boot.latest);
            span.is_closed &= boot.periods.iter().any(|period| period.control.is_final);
        }
        spans
    }

    /// The boot of that id, if any event speaks of it.
    pub(super) fn find(&self, source: &str, boot: &str) -> Option<usize> {
        self.names.find(source, boot)
    }

    /// The time of a boot's last event.
    pub(super) fn latest(&self, source: &str, boot: &str) -> Option<Timestamp> {
        self.all.get(self.find(source, boot)?)?.latest
    }

    fn index(&mut self, source: &str, boot: &str) -> usize {
        let index = self.names.number(source, boot);
        if index == self.all.len() {
            self.all.push(BootRecord {
                source: source.to_owned(),
                id: boot.to_owned(),
                ..BootRecord::default()
            });
        }
        index
    }

    /// The bound that is crossed by what was seen so far, if any is.
    pub(super) fn crossed_bound(&self) -> Option<InputBound> {
        let controls = self.controls > CONTROLS_MAX;
        let controls = controls.then_some(InputBound::ControlEvents(CONTROLS_MAX));
        let unproven =
            (self.ids.len() > self.unproven_max).then_some(InputBound::UnprovenRows(self.unproven_max));
        let copies =
            (self.copies.len() > self.copies_max).then_some(InputBound::RepeatedRows(self.copies_max));
        let captured = self.captured.as_ref().and_then(CapturedCalls::crossed_bound);
        let boots = self.names.is_over().then_some(InputBound::Boots(BOOTS_MAX));
        boots.or(controls).or(unproven).or(copies).or(captured)
    }
}

/// As many rows as there were, and others.
fn is_unlike(period: &Period) -> bool {
    period.rows.found.events == period.said.events && period.match_of_rows() == RowsMatch::Different
}

impl BootRecord {
    /// The last sequence that it must have.
    pub(super) fn last_expected(&self) -> u64 {
        let said = self.periods.iter().filter_map(|period| period.control.last).max();
        self.seen.max().max(said).unwrap_or(0)
    }

    /// Nothing is left of it, and nothing speaks of it.
    pub(super) fn is_traceless(&self) -> bool {
        self.seen.is_empty() && self.periods.is_empty()
    }

    /// Adds rows between two control events, of which `last` is the last one, to the control event that covers them.
    fn take(&mut self, index: usize, last: u64, sums: &RowSums) -> Option<&mut Period> {
        let at = self.periods.partition_point(|p| p.writer == index && p.sequence < last);
        let Some(period) = self.periods.get_mut(at) else {
            self.uncovered += sums.totals.events;
            return None;
        };
        period.take(sums);
        Some(period)
    }
}

#[cfg(test)]
mod tests;
