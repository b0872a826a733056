//! What has been seen of a Responses answer: item by item, from deltas or from the whole.
//!
//! The service says every text again and again: as deltas, then whole in the event that ends it, in
//! the one that ends its part, its item, and the response. Deltas are counted as they come. A whole
//! text counts only where it is longer than its deltas were: some gateways send none, and a stream that
//! was taken up again lacks its first ones.

use super::text::Text;
use crate::chunk::{self, Event, EventKind, ItemKind, Joiner, Malformed, Response};
use crate::tokens::Encoding;

/// Items of one answer. An answer that searches the web or runs code has some tens.
const ITEMS_MAX: usize = 256;

/// Parts of all items; a message has one as a rule.
const PARTS_MAX: usize = 256;

/// Bytes of a function's name; the API's limit is 64.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of arguments that an answer keeps: several calls are billed on their compact JSON.
const ARGUMENTS_BYTES_MAX: usize = 256 << 10;

/// Everything that counts of one answer.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Vec<Item>,
    parts: usize,
    kept_bytes: usize,
    /// There were more items, parts or bytes than are looked at.
    pub(super) overflow: bool,
    /// It holds texts that we do not know.
    pub(super) odd: bool,
}

/// One item so far.
#[derive(Debug, Default)]
pub(super) struct Item {
    index: u64,
    /// `None`: it has not been said.
    kind: Option<ItemKind>,
    pub(super) name: String,
    pub(super) arguments: Text,
    /// The arguments themselves.
    pub(super) kept: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

/// One part of a message so far.
#[derive(Debug, Default)]
pub(super) struct Part {
    index: u64,
    pub(super) refusal: bool,
    pub(super) text: Text,
}

/// Which text of an answer a string belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    kind: TextKind,
    item: u64,
    part: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextKind {
    Output,
    Refusal,
    Arguments,
}

impl Items {
    /// The next event. Returns the place of its text, if adding a delta there was all that it did.
    pub(super) fn feed(
        &mut self,
        event: &Event<'_>,
        encoding: Option<Encoding>,
    ) -> Result<Option<Place>, Malformed> {
        let at = |kind| Place { kind, item: event.item_index, part: event.part_index };
        let place = match event.kind() {
            EventKind::Text => at(TextKind::Output),
            EventKind::Refusal => at(TextKind::Refusal),
            EventKind::Arguments => at(TextKind::Arguments),
            kind => {
                self.odd |= kind == EventKind::OtherDelta;
                self.feed_objects(event, kind, encoding)?;
                return Ok(None);
            }
        };
        if let Some(whole) = event.whole {
            self.whole(place, whole, encoding);
        }
        if let Some(delta) = event.delta {
            self.more(place, delta, encoding);
        }
        Ok(event.delta.and(event.whole.is_none().then_some(place)))
    }

    fn feed_objects(
        &mut self,
        event: &Event<'_>,
        kind: EventKind,
        encoding: Option<Encoding>,
    ) -> Result<(), Malformed> {
        match (kind, event.item()?, event.part()?) {
            // Its texts are to come.
            (EventKind::ItemAdded, Some(item), _) => self.name(event.item_index, &item),
            (EventKind::ItemDone, Some(item), _) => self.whole_item(event.item_index, &item, encoding)?,
            (EventKind::PartDone, _, Some(part)) => {
                self.whole_part(event.item_index, event.part_index, &part, encoding);
            }
            _ => {}
        }
        Ok(())
    }

    /// A response as it is now, or as it ended.
    pub(super) fn whole_answer(
        &mut self,
        response: &Response<'_>,
        encoding: Option<Encoding>,
    ) -> Result<(), Malformed> {
        let mut all_read = Ok(());
        response.items(|index, item| all_read = all_read.and(self.whole_item(index, &item, encoding)))?;
        all_read
    }

    /// More of a text.
    pub(super) fn more(&mut self, place: Place, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        if place.kind == TextKind::Arguments {
            return self.more_arguments(place.item, text, encoding);
        }
        if let Some(part) = self.part(place) {
            part.text.push(text, encoding);
        }
    }

    /// The whole of a text, which may have come in deltas before.
    fn whole(&mut self, place: Place, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        if place.kind == TextKind::Arguments {
            let Some(item) = self.item(place.item, ItemKind::Call) else { return };
            if item.arguments.bytes() < text.unescaped_bytes() {
                let kept = std::mem::take(&mut item.kept);
                item.arguments = Text::default();
                self.kept_bytes -= kept.len();
                self.more_arguments(place.item, text, encoding);
            }
        } else if let Some(part) = self.part(place)
            && part.text.bytes() < text.unescaped_bytes()
        {
            part.text = Text::default();
            part.text.push(text, encoding);
        }
    }

    fn whole_item(
        &mut self,
        index: u64,
        item: &chunk::Item<'_>,
        encoding: Option<Encoding>,
    ) -> Result<(), Malformed> {
        self.name(index, item);
        if item.kind == ItemKind::Call
            && let Some(arguments) = item.arguments
        {
            self.whole(Place { kind: TextKind::Arguments, item: index, part: 0 }, arguments, encoding);
        }
        if item.kind != ItemKind::Message {
            return Ok(());
        }
        item.parts(|part_index, part| self.whole_part(index, part_index, &part, encoding))
    }

    fn whole_part(&mut self, item: u64, part: u64, whole: &chunk::Part<'_>, encoding: Option<Encoding>) {
        let kind = if whole.refusal { TextKind::Refusal } else { TextKind::Output };
        match whole.text {
            Some(text) => self.whole(Place { kind, item, part }, text, encoding),
            // Parts of a reasoning item are no text of the answer.
            None => {
                self.odd |= self.items.iter().any(|seen| seen.index == item && seen.is(ItemKind::Message))
            }
        }
    }

    /// What an item is, and which function it calls.
    fn name(&mut self, index: u64, item: &chunk::Item<'_>) {
        let Some(slot) = self.item(index, item.kind) else { return };
        slot.kind = Some(item.kind);
        let Some(name) = item.name.filter(|_| item.kind == ItemKind::Call) else { return };
        let name = name.lossy();
        if name.len() <= NAME_BYTES_MAX {
            slot.name.clear();
            slot.name.push_str(&name);
        } else {
            self.odd = true;
        }
    }

    fn more_arguments(&mut self, index: u64, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        let room = ARGUMENTS_BYTES_MAX - self.kept_bytes;
        let Some(item) = self.item(index, ItemKind::Call) else { return };
        item.arguments.push(text, encoding);
        let (before, mut cut) = (item.kept.len(), false);
        Joiner::default().feed(text, |part| {
            if item.kept.len() - before + part.len() <= room {
                item.kept.extend_from_slice(part);
            } else {
                cut = true;
            }
        });
        let more = item.kept.len() - before;
        self.kept_bytes += more;
        self.overflow |= cut;
    }

    /// The item with that index, made if it is new; `None` if there are too many.
    fn item(&mut self, index: u64, kind: ItemKind) -> Option<&mut Item> {
        let place = match self.items.iter().position(|item| item.index == index) {
            Some(place) => place,
            None if self.items.len() == ITEMS_MAX => {
                self.overflow = true;
                return None;
            }
            None => {
                self.items.push(Item { index, ..Item::default() });
                self.items.len() - 1
            }
        };
        let item = self.items.get_mut(place)?;
        item.kind.get_or_insert(kind);
        Some(item)
    }

    fn part(&mut self, place: Place) -> Option<&mut Part> {
        let is_full = self.parts == PARTS_MAX;
        let item = self.item(place.item, ItemKind::Message)?;
        let refusal = place.kind == TextKind::Refusal;
        let found = item.parts.iter().position(|part| part.index == place.part && part.refusal == refusal);
        if found.is_none() {
            if is_full {
                self.overflow = true;
                return None;
            }
            item.parts.push(Part { index: place.part, refusal, text: Text::default() });
            self.parts += 1;
        }
        let item = self.item(place.item, ItemKind::Message)?;
        match found {
            Some(found) => item.parts.get_mut(found),
            None => item.parts.last_mut(),
        }
    }

    /// Lets go of the texts that no vocabulary is known for.
    pub(super) fn lose_unnamed(&mut self) {
        for item in &mut self.items {
            item.arguments.lose_unnamed();
            item.parts.iter_mut().for_each(|part| part.text.lose_unnamed());
        }
    }

    /// What a count takes, in bytes of text that it counts anew.
    pub(super) fn uncounted_bytes(&self) -> usize {
        let arguments = self.items.iter().map(|item| &item.arguments);
        let texts = self.parts().map(|part| &part.text).chain(arguments);
        // Several calls are counted as one, from what is kept of them.
        let several = if self.calls().nth(1).is_some() { self.kept_bytes } else { 0 };
        several + texts.map(Text::uncounted_bytes).sum::<usize>()
    }

    /// No item has been seen.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A text, a refusal or a call has been seen.
    pub(super) fn has_begun(&self) -> bool {
        self.calls().next().is_some() || self.parts().any(|part| !part.text.is_empty())
    }

    /// The parts of its messages, in order of their coming.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.items.iter().flat_map(|item| &item.parts)
    }

    /// Its messages with text.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.parts.iter().any(|part| !part.text.is_empty()))
    }

    /// Its calls of the caller's functions, in order.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.is(ItemKind::Call))
    }

    /// The model reasoned before it spoke, and says so.
    pub(super) fn is_reasoned(&self) -> bool {
        self.items.iter().any(|item| item.is(ItemKind::Reasoning))
    }

    /// It holds what a hosted tool did.
    pub(super) fn is_hosted(&self) -> bool {
        self.items.iter().any(|item| item.is(ItemKind::Hosted))
    }
}

impl Item {
    fn is(&self, kind: ItemKind) -> bool {
        self.kind == Some(kind)
    }
}
