//! What retention left to judge by.
//!
//! A ledger lets delivered events go, oldest first; a topic lets go of whole segments, each partition
//! for itself. What is gone in this way is not missing: where judging begins, the horizon, is found
//! from what is still there. Boots are UUIDv7 and so in the order of their starts.

use std::collections::HashMap;

use super::VerifyOptions;
use super::bits::Bits;
use super::boots::{Boot, Boots};
use super::event::Event;
use super::findings::FINDINGS_MAX;
use crate::report::input::{Events, LedgerEvents};
use crate::report::topic::Topic;
use crate::report::{READ_ROWS, ReportError};

/// What is still there.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// By source: the boot and the sequence from which on nothing may be missing.
    horizon: HashMap<String, (String, u64)>,
    /// Nothing is left but what was refused.
    nothing: bool,
    /// Positions of a ledger that hold no event although they should.
    pub(super) lost: Vec<(u64, u64)>,
    /// Events that the broker refused, as the ledger knows them.
    pub(super) refused: Vec<Refused>,
    /// Why there is a horizon.
    pub(super) why: Option<String>,
}

/// An event that the broker refused for good.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) source: String,
    pub(super) boot: String,
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) reason: String,
}

impl Remains {
    /// Looks after both passes, so that what went meanwhile is behind the horizon.
    pub(super) fn look(
        events: &Events,
        boots: &Boots,
        positions: &Bits,
        options: &VerifyOptions,
    ) -> Result<Remains, ReportError> {
        match events {
            Events::Ledger(ledger) => of_ledger(ledger, positions),
            Events::Topic(topic) => of_topic(topic, boots),
            Events::Lines(_) if options.allow_cut => Ok(of_lines(boots)),
            Events::Lines(_) => Ok(Remains::default()),
        }
    }

    /// The sequence from which on a boot is judged; `None` if not at all.
    pub(super) fn floor(&self, boot: &Boot) -> Option<u64> {
        if self.nothing {
            return None;
        }
        match self.horizon.get(&boot.source) {
            Some((first, _)) if boot.id < *first => None,
            Some((first, sequence)) if boot.id == *first => Some(*sequence),
            _ => Some(1),
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

fn of_ledger(ledger: &LedgerEvents, positions: &Bits) -> Result<Remains, ReportError> {
    let mut remains = Remains { refused: refused(ledger)?, ..Remains::default() };
    let first = ledger.reader.first_unrefused()?;
    // Read after the first row: events go only once they are delivered, so the mark is past them.
    let mark = ledger.reader.delivered()?;
    let begin = first.as_ref().map_or(ledger.last + 1, |row| row.position);
    if begin > mark + 1 {
        remains.lost.extend(positions.gaps(mark + 1, ledger.last.min(begin - 1)));
    }
    remains.lost.extend(positions.gaps(begin, ledger.last));
    remains.nothing = first.is_none() && begin <= mark + 1;
    if begin > 1 && begin <= mark + 1 {
        remains.why =
            Some("the ledger has let delivered events go (--ledger-keep, --ledger-max-bytes)".to_owned());
        if let Some(event) = first.as_ref().and_then(|row| Event::read(&row.body)) {
            remains.begin_at(&event.source, &event.boot, event.sequence);
        }
    }
    Ok(remains)
}

fn refused(ledger: &LedgerEvents) -> Result<Vec<Refused>, ReportError> {
    let (mut found, mut after) = (Vec::new(), 0);
    while found.len() < FINDINGS_MAX {
        let rows = ledger.reader.refused(after, READ_ROWS)?;
        let Some(last) = rows.last() else { break };
        after = last.row.position;
        for refused in rows {
            // One that cannot be read is named by its position.
            let unreadable =
                || ("?".to_owned(), "?".to_owned(), 0, format!("position {}", refused.row.position));
            let event = Event::read(&refused.row.body);
            let (source, boot, sequence, id) = event.map_or_else(unreadable, |event| {
                (event.source.to_string(), event.boot.clone(), event.sequence, event.id.to_string())
            });
            found.push(Refused { source, boot, sequence, id, reason: refused.reason });
        }
    }
    Ok(found)
}

/// Each cut partition lacks what its sources published there before its first event.
fn of_topic(topic: &Topic, boots: &Boots) -> Result<Remains, ReportError> {
    let mut remains = Remains::default();
    let cut = topic.cut()?;
    for partition in &cut {
        for (source, (boot, sequence)) in boots.heads.get(partition).into_iter().flatten() {
            remains.begin_at(source, boot, *sequence);
        }
    }
    if !cut.is_empty() {
        let cut: Vec<String> = cut.iter().map(ToString::to_string).collect();
        remains.why = Some(format!("the topic no longer begins at offset 0 in partition {}", cut.join(", ")));
    }
    Ok(remains)
}

/// Nobody but the user knows that lines were cut: then each source begins where it is first seen.
fn of_lines(boots: &Boots) -> Remains {
    let mut oldest: HashMap<&str, &Boot> = HashMap::new();
    for boot in boots.all.iter().filter(|boot| boot.seen.count() > 0) {
        let known = oldest.entry(&boot.source).or_insert(boot);
        if boot.id < known.id {
            *known = boot;
        }
    }
    let mut remains = Remains { why: Some("--allow-cut".to_owned()), ..Remains::default() };
    for (source, boot) in oldest {
        remains.begin_at(source, &boot.id, boot.seen.first().unwrap_or(1));
    }
    remains
}
