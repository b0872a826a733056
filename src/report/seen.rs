//! Which events were seen: each counts once, by its source, its boot and its sequence number.
//!
//! A repeat is known from an event that merely has the same number by a fingerprint of 32 bits over all that counts of
//! it, its names, numbers and times: so it does not matter who wrote its bytes anew. An event without a number is known
//! by its id, which takes more room.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use uuid::Uuid;

use super::boot_names::{BOOTS_MAX, BootNames};
use super::error::InputBound;
use super::numbers::{FEW_MAX, Numbers, Sight};
use metering::usage::{Control, Outcome, StoredData, StoredEvent};

/// Larger numbers are no sequence: a thousand calls a second reach 2^62 in a hundred million years.
const SEQUENCE_MAX: u64 = 1 << 62;

/// Events without a number that are remembered, at some 60 bytes each. A later one counts as it comes.
const UNNUMBERED_MAX: usize = 4_000_000;

/// Blocks of numbers that hold only a few, some 130 bytes each. A boot has one at its end, and holes may leave others.
const SCATTERED_MAX: u64 = 1 << 20;

/// The facts that were seen of one start of one ledger.
#[derive(Debug, Default)]
pub(super) struct SeenBoot {
    pub(super) source: String,
    pub(super) id: String,
    pub(super) numbers: Numbers,
    /// The last number that a control event tells of.
    pub(super) told_last: Option<u64>,
    /// Calls that its last control event tells of, and when that was written.
    pub(super) told_calls: u64,
    pub(super) told_ms: Option<i64>,
    /// It wrote its last control event, or the boot after it did.
    pub(super) is_closed: bool,
    /// The boot before it in its ledger, as a control event says that speaks of it.
    pub(super) boot_before: Option<String>,
    /// Calls of the boot before it that it found open.
    pub(super) crashed: u64,
}

/// Which events were seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) boots: Vec<SeenBoot>,
    names: BootNames,
    /// Distinct numbers, and the blocks that hold them, of all boots.
    numbered: u64,
    blocks: u64,
    unnumbered: HashMap<(usize, Uuid), u32>,
    /// Ledgers of events without a number, whose boot is not named.
    unnumbered_names: BootNames,
    /// Events without a number.
    pub(super) unnumbered_events: u64,
    /// Of these: counted without being compared.
    pub(super) uncompared: u64,
    hasher: RandomState,
}

impl Seen {
    /// Takes an event.
    pub(super) fn note(&mut self, event: &StoredEvent<'_>, data: &StoredData) -> Sight {
        let print = self.print(event, data);
        let boot = event.boot(data);
        let sequence =
            event.sequence().filter(|number| (1..SEQUENCE_MAX).contains(number) && !boot.is_empty());
        let Some(sequence) = sequence else { return self.unnumbered(event, print) };
        let time_ms = event.time.map_or(0, |time| time.as_millisecond());
        let index = self.index(&event.source, boot);
        let numbers = &mut self.boots[index].numbers;
        let blocks = numbers.blocks();
        let sight = numbers.note(sequence, print, time_ms);
        self.blocks += numbers.blocks() - blocks;
        if sight == Sight::First {
            self.numbered += 1;
            match data {
                StoredData::Control(control) => self.control(index, event, control),
                StoredData::Call(_, Outcome::Crashed) => self.boots[index].crashed += 1,
                _ => {}
            }
        }
        sight
    }

    /// Returns the fingerprint of all that counts of an event.
    fn print(&self, event: &StoredEvent<'_>, data: &StoredData) -> u32 {
        let whole = (&event.id, &event.type_name, event.time, data);
        self.hasher.hash_one(whole) as u32
    }

    fn unnumbered(&mut self, event: &StoredEvent<'_>, print: u32) -> Sight {
        let Ok(id) = Uuid::parse_str(&event.id) else { return Sight::First };
        let source = self.unnumbered_names.number(&event.source, "");
        if let Some(seen) = self.unnumbered.get(&(source, id)) {
            return if *seen == print { Sight::Again } else { Sight::Other };
        }
        self.unnumbered_events += 1;
        if self.unnumbered.len() < UNNUMBERED_MAX {
            self.unnumbered.insert((source, id), print);
        } else {
            self.uncompared += 1;
        }
        Sight::First
    }

    /// Takes what a control event tells of its own boot, or of the one before.
    fn control(&mut self, writer: usize, event: &StoredEvent<'_>, control: &Control) {
        let about = self.index(&event.source, &control.instance);
        let boot = &mut self.boots[about];
        boot.told_last = boot.told_last.max(control.last_sequence);
        let before = control.previous_instance.as_ref().filter(|before| **before < boot.id);
        boot.boot_before = boot.boot_before.take().or_else(|| before.cloned());
        boot.is_closed |= control.last || writer != about;
        let time_ms = event.time.map(|time| time.as_millisecond());
        if boot.told_ms <= time_ms {
            boot.told_ms = time_ms;
            boot.told_calls = control.settled.saturating_add(control.summed);
        }
    }

    /// Something tells of this boot.
    pub(super) fn knows(&self, source: &str, boot: &str) -> bool {
        self.names.find(source, boot).is_some()
    }

    /// The bound that is crossed by what was seen so far, if any is.
    pub(super) fn crossed_bound(&self) -> Option<InputBound> {
        if self.names.is_over() || self.unnumbered_names.is_over() {
            return Some(InputBound::Boots(BOOTS_MAX));
        }
        let scattered = self.blocks.saturating_sub(self.numbered / FEW_MAX as u64);
        (scattered > SCATTERED_MAX).then_some(InputBound::Scattered(SCATTERED_MAX))
    }

    fn index(&mut self, source: &str, boot: &str) -> usize {
        let index = self.names.number(source, boot);
        if index == self.boots.len() {
            self.boots.push(SeenBoot {
                source: source.to_owned(),
                id: boot.to_owned(),
                ..SeenBoot::default()
            });
        }
        index
    }
}
