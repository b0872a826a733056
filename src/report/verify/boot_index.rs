//! Collects the facts of each boot, in two passes over the events.
//!
//! The first pass sets a bit for each sequence and keeps the control events. The second adds up the
//! rows that each control event covers, and looks again at whatever came more than once. Of an event
//! nothing else is kept but its bit and 8 bytes that stand for its id; of a control event, and of a
//! boot, some 200 bytes; of each copy of a repeated event 24 bytes.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use roaring::RoaringTreemap;

use super::event::{SequencedEvent, hash};
use crate::report::bills::BillsSeen;
use crate::report::input::EventOrigin;
use metering::usage::{Control, Outcome, StoredData, TokenTotals, Units};

/// Ids seen under more than one sequence that are looked at closely; beyond it they are counted.
const SUSPECTS_MAX: usize = 10_000;

/// Sightings of those; an id has two as a rule.
const SIGHTINGS_MAX: usize = 100_000;

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
    /// Of these: whose copies are not.
    pub(super) altered: RoaringTreemap,
    /// Repeated sequences that the second pass has added up.
    added: RoaringTreemap,
    pub(super) began: Option<Timestamp>,
    /// Its control events: its own in order, then the one that the next boot wrote.
    pub(super) periods: Vec<Period>,
    /// Rows after the last control event.
    pub(super) uncovered: u64,
    /// Calls that it settled for the boot before it.
    pub(super) crashed: u64,
}

/// One control event, and the counts of the rows that it covers.
#[derive(Debug)]
pub(super) struct Period {
    /// Index of the boot that wrote it.
    pub(super) writer: usize,
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) said: Totals,
    pub(super) control: ControlCounters,
    pub(super) found: Totals,
    /// Rows since the control event before that lie outside of the range it names.
    pub(super) outside: u64,
    /// Calls settled one by one, and summed, since the control event before.
    pub(super) settled: u64,
    pub(super) summed: u64,
}

/// Rows, their tokens and their units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) tokens: TokenTotals,
    pub(super) units: Units,
}

/// The rest of a control event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ControlCounters {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) accepted: u64,
    pub(super) settled: u64,
    pub(super) open: u64,
    pub(super) summed: u64,
    pub(super) refused: u64,
    pub(super) degraded: bool,
    pub(super) is_final: bool,
}

/// One copy of a sequence that came more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    pub(super) boot: usize,
    pub(super) sequence: u64,
    pub(super) body: u64,
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
#[derive(Debug, Default)]
pub(super) struct BootIndex {
    pub(super) all: Vec<BootRecord>,
    by_id: HashMap<String, HashMap<String, usize>>,
    ids: Vec<u64>,
    suspects: HashSet<u64>,
    /// Ids under two sequences that were too many to be looked at.
    pub(super) suspects_more: u64,
    pub(super) sightings: Vec<Sighting>,
    pub(super) copies: Vec<Copy>,
    /// Bills of work, which several ledgers may have seen.
    pub(super) bills: BillsSeen,
    pub(super) messages: u64,
    pub(super) foreign: u64,
    pub(super) newest: Option<Timestamp>,
    /// Of each partition and source, the first event that is still there.
    pub(super) heads: HashMap<i32, HashMap<String, (String, u64)>>,
}

impl BootIndex {
    /// Takes one message in the first pass.
    pub(super) fn note(&mut self, body: &str) {
        self.messages += 1;
        let Some(event) = SequencedEvent::read(body) else {
            self.foreign += 1;
            return;
        };
        let index = self.index(&event.source, &event.boot);
        let boot = &mut self.all[index];
        if !boot.seen.insert(event.sequence) {
            boot.repeated.insert(event.sequence);
            return;
        }
        self.ids.push(event.id_hash());
        if let StoredData::Call(usage, _) = &event.data {
            self.bills.repeats(usage);
        }
        if let Some(time) = event.time {
            boot.began = Some(boot.began.map_or(time, |began| began.min(time)));
            self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        }
        if let StoredData::Control(control) = &event.data {
            let instance = self.index(&event.source, &control.instance);
            self.all[instance].periods.push(Period::new(index, &event, control));
        }
    }

    /// Ends the first pass.
    pub(super) fn sort(&mut self) {
        for (index, boot) in self.all.iter_mut().enumerate() {
            boot.periods.sort_unstable_by_key(|period| (period.writer != index, period.sequence));
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

    /// Takes one message in the second pass.
    pub(super) fn add(&mut self, body: &str, place: EventOrigin) {
        let Some(event) = SequencedEvent::read(body) else { return };
        if let EventOrigin::Partition(partition) = place {
            let heads = self.heads.entry(partition).or_default();
            if !heads.contains_key(event.source.as_ref()) {
                heads.insert(event.source.to_string(), (event.boot.clone(), event.sequence));
            }
        }
        let Some(index) = self.find(&event.source, &event.boot) else { return };
        let Some(boot) = self.all.get_mut(index) else { return };
        if boot.repeated.contains(event.sequence) {
            self.copies.push(Copy { boot: index, sequence: event.sequence, body: hash(&body) });
            if !boot.added.insert(event.sequence) {
                return;
            }
        }
        boot.count(index, &event);
        let room = self.sightings.len() < SIGHTINGS_MAX;
        if room && !self.suspects.is_empty() && self.suspects.contains(&event.id_hash()) {
            let (source, id) = (event.source.into_owned(), event.id.into_owned());
            self.sightings.push(Sighting { source, id, boot: index, sequence: event.sequence });
        }
    }

    /// Ends the second pass: which copies differ, and which ids really are the same.
    pub(super) fn compare(&mut self) {
        self.copies.sort_unstable();
        for same in self.copies.chunk_by(|a, b| (a.boot, a.sequence) == (b.boot, b.sequence)) {
            let boot = &mut self.all[same[0].boot];
            let equal = same.iter().all(|copy| copy.body == same[0].body);
            if equal { &mut boot.doubled } else { &mut boot.altered }.insert(same[0].sequence);
        }
        self.sightings.sort_unstable();
    }

    fn find(&self, source: &str, boot: &str) -> Option<usize> {
        self.by_id.get(source)?.get(boot).copied()
    }

    fn index(&mut self, source: &str, boot: &str) -> usize {
        if let Some(index) = self.find(source, boot) {
            return index;
        }
        let index = self.all.len();
        self.by_id.entry(source.to_owned()).or_default().insert(boot.to_owned(), index);
        self.all.push(BootRecord { source: source.to_owned(), id: boot.to_owned(), ..BootRecord::default() });
        index
    }
}

impl BootRecord {
    /// Adds a row to the control event that covers it.
    fn count(&mut self, index: usize, event: &SequencedEvent<'_>) {
        let (usage, settled, summed) = match &event.data {
            StoredData::Control(_) => return,
            StoredData::Call(usage, outcome) => {
                let crashed = *outcome == Outcome::Crashed;
                self.crashed += u64::from(crashed);
                (usage, u64::from(!crashed), 0)
            }
            StoredData::Sum(usage, calls) => (usage, 0, *calls),
        };
        let at = self.periods.partition_point(|p| p.writer == index && p.sequence < event.sequence);
        let Some(period) = self.periods.get_mut(at) else {
            self.uncovered += 1;
            return;
        };
        period.settled += settled;
        period.summed = period.summed.saturating_add(summed);
        if period.covers(event.sequence) {
            let found = &mut period.found;
            found.events += 1;
            found.tokens.add(usage.tokens.totals());
            found.units.add(&usage.units);
        } else {
            period.outside += 1;
        }
    }
}

impl Period {
    fn new(writer: usize, event: &SequencedEvent<'_>, control: &Control) -> Period {
        let counters = ControlCounters {
            first: control.first_sequence,
            last: control.last_sequence,
            accepted: control.accepted,
            settled: control.settled,
            open: control.open,
            summed: control.summed,
            refused: control.refused,
            degraded: control.degraded,
            is_final: control.last,
        };
        Period {
            writer,
            sequence: event.sequence,
            time: event.time,
            said: Totals { events: control.events, tokens: control.tokens, units: control.units },
            control: counters,
            found: Totals::default(),
            outside: 0,
            settled: 0,
            summed: 0,
        }
    }

    fn covers(&self, sequence: u64) -> bool {
        let ControlCounters { first: Some(first), last: Some(last), .. } = self.control else { return false };
        (first..=last).contains(&sequence)
    }
}
