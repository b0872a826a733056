//! All that is kept of the events of the capture topic while they are read.

use std::collections::HashMap;

use jiff::Timestamp;
use metering::usage::{ContentEvent, RowHash};

use super::content_boots::ContentBoots;
use super::content_event::AnyContent;
use super::first_left::FirstLeft;
use super::inspection::Inspector;
use super::judged_calls::JudgedCalls;
use super::part_key::PartKey;
use super::part_record::{PARTS_MAX, PartRecord};
use crate::report::error::InputBound;
use crate::report::event_origin::EventOrigin;

/// Parts and boots, and what was found of each part by itself.
pub(super) struct ContentIndex<'a> {
    pub(super) boots: ContentBoots,
    pub(super) parts: Vec<PartRecord>,
    parts_max: usize,
    scope: JudgedCalls<'a>,
    pub(super) inspector: Inspector,
    /// Of each partition and ledger, the first event that is still there.
    pub(super) heads: HashMap<i32, HashMap<String, FirstLeft>>,
    /// Of each ledger, the event that was written first.
    pub(super) oldest: HashMap<String, FirstLeft>,
    pub(super) newest: Option<Timestamp>,
    pub(super) foreign: u64,
}

impl<'a> ContentIndex<'a> {
    pub(super) fn new(scope: JudgedCalls<'a>, inspector: Inspector) -> ContentIndex<'a> {
        ContentIndex {
            boots: ContentBoots::default(),
            parts: Vec::new(),
            parts_max: PARTS_MAX,
            scope,
            inspector,
            heads: HashMap::new(),
            oldest: HashMap::new(),
            newest: None,
            foreign: 0,
        }
    }

    /// Takes one message.
    pub(super) fn note(&mut self, body: &str, origin: EventOrigin<'_>) {
        let Some(event) = AnyContent::read(body) else {
            self.foreign += 1;
            return;
        };
        let Some((source, boot, sequence)) = event.place() else { return };
        let (index, time) = (self.boots.index(source, boot), time_of(&event));
        self.boots.see(index, sequence, time);
        self.newest = self.newest.max(time);
        let first = FirstLeft { boot: boot.to_owned(), sequence, time };
        self.note_first(source, first, origin);
        match event {
            AnyContent::Control(event) => self.boots.control(index, sequence, *event, body),
            AnyContent::Part(event) => self.note_part(index, sequence, &event, body),
        }
    }

    fn note_first(&mut self, source: &str, first: FirstLeft, origin: EventOrigin<'_>) {
        if let EventOrigin::Topic { partition, .. } = origin {
            let heads = self.heads.entry(partition).or_default();
            if !heads.contains_key(source) {
                heads.insert(source.to_owned(), first.clone());
            }
        }
        match self.oldest.get_mut(source) {
            Some(known) if *known <= first => {}
            Some(known) => *known = first,
            None => {
                self.oldest.insert(source.to_owned(), first);
            }
        }
    }

    fn note_part(&mut self, boot: usize, sequence: u64, event: &ContentEvent, body: &str) {
        let facts = &event.data.facts;
        let (key, time) = (PartKey::of(&event.id, facts), time_of_part(event));
        if self.scope.has(&event.source, key.map(|key| key.call), time) {
            self.inspector.look(event);
        }
        let (Some(key), Ok(boot)) = (key, u32::try_from(boot)) else {
            self.foreign += 1;
            return;
        };
        self.parts.push(PartRecord {
            key,
            boot,
            sequence,
            row: RowHash::of(body.as_bytes()),
            bytes_raw: facts.bytes_raw,
            time,
            usage: facts.usage,
            is_last: facts.last,
            is_truncated: facts.truncated,
        });
    }

    /// The bound that is crossed, if any is.
    pub(super) fn crossed_bound(&self) -> Option<InputBound> {
        let parts = (self.parts.len() > self.parts_max).then_some(InputBound::ContentParts(self.parts_max));
        parts.or(self.boots.crossed_bound())
    }
}

fn time_of(event: &AnyContent) -> Option<Timestamp> {
    match event {
        AnyContent::Part(event) => time_of_part(event),
        AnyContent::Control(event) => event.time.as_deref()?.parse().ok(),
    }
}

fn time_of_part(event: &ContentEvent) -> Option<Timestamp> {
    event.time.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
