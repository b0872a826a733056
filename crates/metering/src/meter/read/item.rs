//! The items of a response so far, from deltas or from the whole.
//!
//! The service says every text again and again: as deltas, then whole in the event that ends it, in
//! the one that ends its part, its item, and the response. Deltas are counted as they come. A whole
//! text counts only where it is longer than its deltas were: some gateways send none, and a stream that
//! was taken up again lacks its first ones.

use super::charged::Charged;
use super::text::CountedText;
use crate::chunk::{self, EventKind, ItemKind, Joiner, Malformed, Response, ResponsesEvent};
use crate::tokens::Encoding;

/// Items of one response. A response that searches the web or runs code has some tens.
const ITEMS_MAX: usize = 256;

/// Parts of all items; a message has one as a rule.
const PARTS_MAX: usize = 256;

/// Bytes of a function's name; the API's limit is 64.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of arguments that a response keeps: several calls are billed on their compact JSON.
const ARGUMENTS_BYTES_MAX: usize = 256 << 10;

/// The items of one response.
#[derive(Debug, Default)]
pub(crate) struct SeenItems {
    items: Vec<SeenItem>,
    parts: usize,
    kept_bytes: usize,
    /// There were more items, parts or bytes than are looked at.
    pub(crate) overflow: bool,
    /// It holds texts that we do not know.
    pub(crate) odd: bool,
}

/// One item so far.
#[derive(Debug, Default)]
pub(crate) struct SeenItem {
    index: u64,
    /// `None`: it has not been said.
    kind: Option<ItemKind>,
    pub(crate) name: String,
    pub(crate) arguments: CountedText,
    /// The arguments themselves.
    pub(crate) kept: Vec<u8>,
    pub(crate) parts: Vec<SeenPart>,
    /// The words of the model to a tool that is no function.
    own: Vec<SeenPart>,
}

/// One part of a message so far.
#[derive(Debug, Default)]
pub(crate) struct SeenPart {
    index: u64,
    pub(crate) refusal: bool,
    pub(crate) text: CountedText,
}

/// Which text of a response a string belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextPlace {
    kind: TextKind,
    item: u64,
    part: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextKind {
    Output,
    Refusal,
    Arguments,
    /// The input of a custom tool.
    Input,
    /// The words of the model to any other tool.
    Own,
}

impl TextKind {
    /// The kind of an item that has such a text, unless it says otherwise.
    fn item(self) -> ItemKind {
        match self {
            TextKind::Output | TextKind::Refusal => ItemKind::Message,
            TextKind::Arguments => ItemKind::Call,
            TextKind::Input => ItemKind::Custom,
            TextKind::Own => ItemKind::Tool,
        }
    }
}

impl SeenItems {
    /// The next event. Returns the place of its text, if adding a delta there was all that it did.
    pub(crate) fn feed(
        &mut self,
        event: &ResponsesEvent<'_>,
        encoding: Option<Encoding>,
        charged: &mut Charged,
    ) -> Result<Option<TextPlace>, Malformed> {
        let at = |kind| TextPlace { kind, item: event.item_index, part: event.part_index };
        let place = match event.kind() {
            EventKind::Text => at(TextKind::Output),
            EventKind::Refusal => at(TextKind::Refusal),
            EventKind::Arguments => at(TextKind::Arguments),
            EventKind::Input => at(TextKind::Input),
            EventKind::Own => at(TextKind::Own),
            kind => {
                self.odd |= kind == EventKind::OtherDelta;
                self.feed_objects(event, kind, encoding, charged)?;
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
        event: &ResponsesEvent<'_>,
        kind: EventKind,
        encoding: Option<Encoding>,
        charged: &mut Charged,
    ) -> Result<(), Malformed> {
        match (kind, event.item()?, event.part()?) {
            // Its texts are to come.
            (EventKind::ItemAdded, Some(item), _) => self.name(event.item_index, &item),
            (EventKind::ItemDone, Some(item), _) => {
                self.whole_item(event.item_index, &item, encoding, charged)?;
            }
            (EventKind::PartDone, _, Some(part)) => {
                self.whole_part(event.item_index, event.part_index, &part, encoding);
            }
            _ => {}
        }
        Ok(())
    }

    /// A response as it is now, or as it ended.
    pub(crate) fn whole_response(
        &mut self,
        response: &Response<'_>,
        encoding: Option<Encoding>,
        charged: &mut Charged,
    ) -> Result<(), Malformed> {
        let mut all_read = Ok(());
        response.items(|index, item| {
            all_read = all_read.and(self.whole_item(index, &item, encoding, charged));
        })?;
        all_read
    }

    /// More of a text.
    pub(crate) fn more(&mut self, place: TextPlace, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        if matches!(place.kind, TextKind::Arguments | TextKind::Input) {
            return self.more_arguments(place, text, encoding);
        }
        if let Some(part) = self.part(place) {
            part.text.push(text, encoding);
        }
    }

    /// The whole of a text, which may have come in deltas before.
    fn whole(&mut self, place: TextPlace, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        if matches!(place.kind, TextKind::Arguments | TextKind::Input) {
            let Some(item) = self.item(place.item, place.kind.item()) else { return };
            if item.arguments.bytes() < text.unescaped_bytes() {
                let kept = std::mem::take(&mut item.kept);
                item.arguments = CountedText::default();
                self.kept_bytes -= kept.len();
                self.more_arguments(place, text, encoding);
            }
        } else if let Some(part) = self.part(place)
            && part.text.bytes() < text.unescaped_bytes()
        {
            part.text = CountedText::default();
            part.text.push(text, encoding);
        }
    }

    fn whole_item(
        &mut self,
        index: u64,
        item: &chunk::Item<'_>,
        encoding: Option<Encoding>,
        charged: &mut Charged,
    ) -> Result<(), Malformed> {
        self.name(index, item);
        if let Some(charges) = item.charges() {
            charged.add(&charges, index);
        }
        let kind = match item.kind {
            ItemKind::Call => TextKind::Arguments,
            ItemKind::Custom => TextKind::Input,
            ItemKind::Tool | ItemKind::Search => return self.whole_own(index, item, encoding),
            ItemKind::Message => {
                return item.parts(|part_index, part| self.whole_part(index, part_index, &part, encoding));
            }
            ItemKind::Reasoning | ItemKind::Hosted => return Ok(()),
        };
        if let Some(arguments) = item.arguments {
            self.whole(TextPlace { kind, item: index, part: 0 }, arguments, encoding);
        }
        Ok(())
    }

    /// All texts that the model wrote in an item: they count if they are more than the deltas were.
    fn whole_own(
        &mut self,
        index: u64,
        item: &chunk::Item<'_>,
        encoding: Option<Encoding>,
    ) -> Result<(), Malformed> {
        let mut bytes = 0;
        item.own_texts(&mut |text| bytes += text.unescaped_bytes())?;
        let Some(slot) = self.item(index, item.kind) else { return Ok(()) };
        if slot.own.iter().map(|part| part.text.bytes()).sum::<u64>() >= bytes {
            return Ok(());
        }
        let deltas = std::mem::take(&mut slot.own);
        self.parts -= deltas.len();
        let mut place = TextPlace { kind: TextKind::Own, item: index, part: 0 };
        item.own_texts(&mut |text| {
            self.more(place, text, encoding);
            place.part += 1;
        })
    }

    fn whole_part(&mut self, item: u64, part: u64, whole: &chunk::Part<'_>, encoding: Option<Encoding>) {
        let kind = if whole.refusal { TextKind::Refusal } else { TextKind::Output };
        match whole.text {
            Some(text) => self.whole(TextPlace { kind, item, part }, text, encoding),
            // Parts of a reasoning item are no text of the response.
            None => {
                self.odd |= self.items.iter().any(|seen| seen.index == item && seen.is(ItemKind::Message))
            }
        }
    }

    /// The kind of an item, and the function that it calls.
    fn name(&mut self, index: u64, item: &chunk::Item<'_>) {
        self.odd |= item.namespaced;
        let Some(slot) = self.item(index, item.kind) else { return };
        slot.kind = Some(item.kind);
        let is_call = matches!(item.kind, ItemKind::Call | ItemKind::Custom);
        let Some(name) = item.name.filter(|_| is_call) else { return };
        let name = name.lossy();
        if name.len() <= NAME_BYTES_MAX {
            slot.name.clear();
            slot.name.push_str(&name);
        } else {
            self.odd = true;
        }
    }

    fn more_arguments(&mut self, place: TextPlace, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        let room = ARGUMENTS_BYTES_MAX - self.kept_bytes;
        let Some(item) = self.item(place.item, place.kind.item()) else { return };
        item.arguments.push(text, encoding);
        if place.kind == TextKind::Input {
            return; // only calls of functions are billed together
        }
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
    fn item(&mut self, index: u64, kind: ItemKind) -> Option<&mut SeenItem> {
        let place = match self.items.iter().position(|item| item.index == index) {
            Some(place) => place,
            None if self.items.len() == ITEMS_MAX => {
                self.overflow = true;
                return None;
            }
            None => {
                self.items.push(SeenItem { index, ..SeenItem::default() });
                self.items.len() - 1
            }
        };
        let item = self.items.get_mut(place)?;
        item.kind.get_or_insert(kind);
        Some(item)
    }

    fn part(&mut self, place: TextPlace) -> Option<&mut SeenPart> {
        let is_full = self.parts == PARTS_MAX;
        let item = self.item(place.item, place.kind.item())?;
        let refusal = place.kind == TextKind::Refusal;
        let parts = if place.kind == TextKind::Own { &mut item.own } else { &mut item.parts };
        let found = parts.iter().position(|part| part.index == place.part && part.refusal == refusal);
        if found.is_none() {
            if is_full {
                self.overflow = true;
                return None;
            }
            parts.push(SeenPart { index: place.part, refusal, text: CountedText::default() });
            self.parts += 1;
        }
        let item = self.item(place.item, place.kind.item())?;
        let parts = if place.kind == TextKind::Own { &mut item.own } else { &mut item.parts };
        match found {
            Some(found) => parts.get_mut(found),
            None => parts.last_mut(),
        }
    }

    /// Lets go of the texts that no vocabulary is known for.
    pub(crate) fn lose_unnamed(&mut self) {
        for item in &mut self.items {
            item.arguments.lose_unnamed();
            item.parts.iter_mut().chain(&mut item.own).for_each(|part| part.text.lose_unnamed());
        }
    }

    /// Memory of items and parts, with the arguments that are held as they came.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.items.len() * size_of::<SeenItem>() + self.parts * size_of::<SeenPart>() + self.kept_bytes
    }

    /// Bytes of text that a count counts anew.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        let arguments = self.items.iter().map(|item| &item.arguments);
        let own = self.items.iter().flat_map(|item| &item.own);
        let texts = self.parts().chain(own).map(|part| &part.text).chain(arguments);
        // Several calls are counted as one, from what is kept of them.
        let several = if self.calls().nth(1).is_some() { self.kept_bytes } else { 0 };
        several + texts.map(CountedText::uncounted_bytes).sum::<usize>()
    }

    /// No item has been seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A text, a refusal or a call has been seen.
    pub(crate) fn has_begun(&self) -> bool {
        let said_to_tools = || self.own().any(|(_, text)| !text.is_empty());
        let texts = || self.parts().any(|part| !part.text.is_empty());
        self.calls().next().is_some() || self.customs().next().is_some() || texts() || said_to_tools()
    }

    /// The parts of its messages, in order of their coming.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &SeenPart> {
        self.items.iter().flat_map(|item| &item.parts)
    }

    /// Its messages that have text.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &SeenItem> {
        self.items.iter().filter(|item| item.parts.iter().any(|part| !part.text.is_empty()))
    }

    /// Its calls of the caller's functions, in order.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &SeenItem> {
        self.items.iter().filter(|item| item.is(ItemKind::Call))
    }

    /// Its calls of the caller's custom tools, in order.
    pub(crate) fn customs(&self) -> impl Iterator<Item = &SeenItem> {
        self.items.iter().filter(|item| item.is(ItemKind::Custom))
    }

    /// The words of the model to other tools, with the kind of each item.
    pub(crate) fn own(&self) -> impl Iterator<Item = (ItemKind, &CountedText)> {
        let of_tools = |item: &&SeenItem| item.is(ItemKind::Tool) || item.is(ItemKind::Search);
        self.items
            .iter()
            .filter(of_tools)
            .flat_map(|item| item.own.iter().map(|part| (item.kind.unwrap_or_default(), &part.text)))
    }

    /// The model reasoned before it spoke, and says so.
    pub(crate) fn is_reasoned(&self) -> bool {
        self.items.iter().any(|item| item.is(ItemKind::Reasoning))
    }

    /// It holds what a tool did that is neither a function nor a custom tool.
    pub(crate) fn is_hosted(&self) -> bool {
        let kinds = [ItemKind::Tool, ItemKind::Search, ItemKind::Hosted];
        self.items.iter().any(|item| kinds.into_iter().any(|kind| item.is(kind)))
    }
}

impl SeenItem {
    fn is(&self, kind: ItemKind) -> bool {
        self.kind == Some(kind)
    }
}
