//! The sequences and control events of each boot.

use jiff::Timestamp;
use metering::usage::{CloudEvent, ContentControl, ContentType, RowHash};
use roaring::RoaringTreemap;

use crate::report::boot_names::{BOOTS_MAX, BootNames};
use crate::report::error::InputBound;

/// Control events of all boots, some 200 bytes each.
const CONTROLS_MAX: usize = 1 << 21;

/// A control event.
#[derive(Debug)]
pub(super) struct ControlRecord {
    /// The boot that wrote it, by its place: of a boot that died the next one does.
    pub(super) writer: usize,
    pub(super) sequence: u64,
    pub(super) row: RowHash,
    pub(super) time: Option<Timestamp>,
    pub(super) said: ContentControl,
}

/// One start of one sidecar.
#[derive(Debug, Default)]
pub(super) struct ContentBoot {
    pub(super) source: String,
    pub(super) id: String,
    pub(super) seen: RoaringTreemap,
    /// Its control events, whoever wrote them.
    pub(super) controls: Vec<ControlRecord>,
    /// The times of its first and its last event.
    pub(super) began: Option<Timestamp>,
    pub(super) latest: Option<Timestamp>,
}

/// All boots.
#[derive(Debug, Default)]
pub(super) struct ContentBoots {
    pub(super) all: Vec<ContentBoot>,
    names: BootNames,
    controls: usize,
}

impl ContentBoots {
    /// The place of a boot.
    pub(super) fn index(&mut self, source: &str, boot: &str) -> usize {
        let index = self.names.number(source, boot);
        if index == self.all.len() {
            let (source, id) = (source.to_owned(), boot.to_owned());
            self.all.push(ContentBoot { source, id, ..ContentBoot::default() });
        }
        index
    }

    /// Takes the place of an event.
    pub(super) fn see(&mut self, boot: usize, sequence: u64, time: Option<Timestamp>) {
        let boot = &mut self.all[boot];
        boot.seen.insert(sequence);
        boot.began = boot.began.into_iter().chain(time).min();
        boot.latest = boot.latest.max(time);
    }

    /// Takes a control event.
    pub(super) fn control(
        &mut self,
        writer: usize,
        sequence: u64,
        event: CloudEvent<ContentControl, ContentType>,
        body: &str,
    ) {
        let speaks_of = self.index(&event.source, &event.data.instance);
        let record = ControlRecord {
            writer,
            sequence,
            row: RowHash::of(body.as_bytes()),
            time: event.time.as_deref().and_then(|time| time.parse().ok()),
            said: event.data,
        };
        self.all[speaks_of].controls.push(record);
        self.controls += 1;
    }

    /// The bound that is crossed, if any is.
    pub(super) fn crossed_bound(&self) -> Option<InputBound> {
        let controls = self.controls > CONTROLS_MAX;
        let controls = controls.then_some(InputBound::ControlEvents(CONTROLS_MAX));
        self.names.is_over().then_some(InputBound::Boots(BOOTS_MAX)).or(controls)
    }
}

impl ControlRecord {
    /// The last sequence of the boot of which it tells, which is its own if that boot wrote it.
    pub(super) fn end(&self, own: usize) -> u64 {
        if self.writer == own { self.sequence } else { self.said.last_sequence.unwrap_or(0) }
    }
}

impl ContentBoot {
    /// Puts its control events in order: its own, then the one that the next boot wrote. Returns how many were copies.
    pub(super) fn sort(&mut self, own: usize) -> u64 {
        let before = self.controls.len();
        self.controls.sort_unstable_by_key(|control| (control.writer != own, control.sequence, control.row));
        self.controls.dedup_by_key(|control| (control.writer, control.sequence, control.row));
        (before - self.controls.len()) as u64
    }

    /// Its last control event.
    pub(super) fn last_control(&self) -> Option<&ControlRecord> {
        self.controls.last()
    }

    /// It has written its last control event, or the next boot did.
    pub(super) fn is_closed(&self) -> bool {
        self.controls.iter().any(|control| control.said.last)
    }

    /// The last sequence that it must have.
    pub(super) fn last_expected(&self) -> u64 {
        let said = self.controls.iter().filter_map(|control| control.said.last_sequence).max();
        self.seen.max().max(said).unwrap_or(0)
    }
}
