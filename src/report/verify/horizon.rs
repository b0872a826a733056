//! The horizon: where judging begins, because retention took what lay before.
//!
//! A ledger lets delivered events go, oldest first; a topic drops whole segments, each partition
//! for itself. Events that went in this way are not missing. The horizon is found from what is still there. Boots are UUIDv7 and so in the order of their starts.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use roaring::RoaringTreemap;

use super::boot_index::{BootIndex, BootRecord};
use super::event::SequencedEvent;
use super::findings::FINDINGS_MAX;
use super::options::VerifyOptions;
use super::sequences::gaps;
use crate::report::error::ReportError;
use crate::report::input::{Events, LedgerEvents, READ_ROWS, Topic};

/// From where on nothing may be missing, and what a ledger says of its losses.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// By source: the boot and the sequence from which on nothing may be missing.
    horizon: HashMap<String, (String, u64)>,
    /// Sources of which nothing is left but what was refused.
    nothing: HashSet<String>,
    /// Positions of a ledger that hold no event although they should.
    pub(super) lost: Vec<(u64, u64)>,
    /// Events that the broker refused, as the ledger knows them.
    pub(super) refused: Vec<RefusedEvent>,
    /// Why there is a horizon.
    pub(super) why: Vec<String>,
    /// Partitions were cut, each for itself: a boot may be gone of which older ones are still there.
    pub(super) is_ragged: bool,
}

/// An event that the broker refused for good.
#[derive(Debug)]
pub(super) struct RefusedEvent {
    pub(super) source: String,
    pub(super) boot: String,
    pub(super) sequence: u64,
    /// When it was written, if it can be read.
    pub(super) time: Option<Timestamp>,
    pub(super) id: String,
    pub(super) reason: String,
}

impl Horizon {
    /// Looks after both passes, so that what went meanwhile is behind the horizon.
    pub(super) fn look(
        events: &Events,
        boots: &BootIndex<'_>,
        positions: &[RoaringTreemap],
        options: &VerifyOptions,
    ) -> Result<Horizon, ReportError> {
        let mut horizon = Horizon::default();
        for (ledger, positions) in events.ledgers.iter().zip(positions) {
            horizon.of_ledger(ledger, positions)?;
        }
        for topic in &events.topics {
            horizon.of_topic(topic, boots)?;
        }
        if events.has_files() && options.allow_cut {
            horizon.of_files(boots);
        }
        Ok(horizon)
    }

    /// The sequence from which on a boot is judged; `None` if not at all.
    pub(super) fn floor(&self, boot: &BootRecord) -> Option<u64> {
        if self.nothing.contains(&boot.source) {
            return None;
        }
        match self.horizon.get(&boot.source) {
            Some((first, _)) if boot.id < *first => None,
            Some((first, sequence)) if boot.id == *first => Some(*sequence),
            _ => Some(1),
        }
    }

    fn of_ledger(&mut self, ledger: &LedgerEvents, positions: &RoaringTreemap) -> Result<(), ReportError> {
        let refused = refused(ledger)?;
        let first = ledger.reader.first_unrefused()?;
        // Read after the first row: events go only once they are delivered, so the mark is past them.
        let mark = ledger.reader.delivered()?;
        let begin = first.as_ref().map_or(ledger.last + 1, |row| row.position);
        if begin > mark + 1 {
            self.lost.extend(gaps(positions, mark + 1, ledger.last.min(begin - 1)));
        }
        self.lost.extend(gaps(positions, begin, ledger.last));
        if first.is_none() && begin <= mark + 1 {
            self.nothing.extend(refused.iter().map(|refused| refused.source.clone()));
        }
        self.refused.extend(refused);
        if begin > 1 && begin <= mark + 1 {
            let why = "the ledger has let delivered events go (--ledger-keep, --ledger-max-bytes)";
            self.why.push(why.to_owned());
            if let Some(event) = first.as_ref().and_then(|row| SequencedEvent::read(&row.body)) {
                self.begin_at(&event.source, &event.boot, event.sequence);
            }
        }
        Ok(())
    }

    /// Each cut partition lacks what its sources published there before its first event.
    fn of_topic(&mut self, topic: &Topic, boots: &BootIndex<'_>) -> Result<(), ReportError> {
        let cut = topic.cut()?;
        for partition in &cut {
            for (boot, sequence) in boots.heads.get(partition).into_iter().flat_map(HashMap::values) {
                let boot = &boots.all[*boot];
                self.begin_at(&boot.source, &boot.id, *sequence);
            }
        }
        if !cut.is_empty() {
            self.is_ragged = true;
            let cut: Vec<String> = cut.iter().map(ToString::to_string).collect();
            let cut = cut.join(", ");
            self.why.push(format!("the topic no longer begins at offset 0 in partition {cut}"));
        }
        Ok(())
    }

    /// Only the user knows that files were cut: then each source begins where it is first seen.
    fn of_files(&mut self, boots: &BootIndex<'_>) {
        let mut oldest: HashMap<&str, &BootRecord> = HashMap::new();
        for boot in boots.all.iter().filter(|boot| !boot.seen.is_empty()) {
            let known = oldest.entry(&boot.source).or_insert(boot);
            if boot.id < known.id {
                *known = boot;
            }
        }
        self.why.push("--allow-cut".to_owned());
        for (source, boot) in oldest {
            self.begin_at(source, &boot.id, boot.seen.min().unwrap_or(1));
        }
    }

    fn begin_at(&mut self, source: &str, boot: &str, sequence: u64) {
        let at = (boot.to_owned(), sequence);
        let known = self.horizon.entry(source.to_owned()).or_insert_with(|| at.clone());
        if *known < at {
            *known = at;
        }
    }
}

fn refused(ledger: &LedgerEvents) -> Result<Vec<RefusedEvent>, ReportError> {
    let (mut found, mut after) = (Vec::new(), 0);
    while found.len() < FINDINGS_MAX {
        let rows = ledger.reader.refused(after, READ_ROWS)?;
        let Some(last) = rows.last() else { break };
        after = last.row.position;
        for refused in rows {
            // One that cannot be read is named by its position.
            let unreadable =
                || ("?".to_owned(), "?".to_owned(), 0, None, format!("position {}", refused.row.position));
            let event = SequencedEvent::read(&refused.row.body);
            let (source, boot, sequence, time, id) = event.map_or_else(unreadable, |event| {
                (event.source.to_string(), event.boot, event.sequence, event.time, event.id.to_string())
            });
            found.push(RefusedEvent { source, boot, sequence, time, id, reason: refused.reason });
        }
    }
    Ok(found)
}
