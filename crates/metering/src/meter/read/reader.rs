//! The kinds of readers. The table of APIs says which of them a response needs.

use smol_str::SmolStr;

use super::choices::ChoicesReader;
use super::facts::ResponseFacts;
use super::items::ItemsReader;
use super::messages::MessagesReader;
use super::realtime::RealtimeReader;
use super::top_level::{SeenMedia, TopLevelReader};
use crate::api::BodyKind;
use crate::chunk::{Charges, Chunk, EventKind, Gist, Malformed, ResponsesEvent};

/// The reader of one kind of body, with what it has found beside the facts.
#[derive(Debug)]
pub(crate) enum BodyReader {
    Choices(ChoicesReader),
    Items(ItemsReader),
    Messages(MessagesReader),
    Realtime(RealtimeReader),
    TopLevel(TopLevelReader),
}

impl BodyReader {
    /// A reader that has read nothing.
    pub(super) fn of(kind: BodyKind) -> BodyReader {
        match kind {
            BodyKind::Choices => BodyReader::Choices(ChoicesReader::default()),
            BodyKind::Items => BodyReader::Items(ItemsReader::default()),
            BodyKind::Messages => BodyReader::Messages(MessagesReader::default()),
            BodyKind::Realtime => BodyReader::Realtime(RealtimeReader::default()),
            BodyKind::TopLevel => BodyReader::TopLevel(TopLevelReader::default()),
        }
    }

    /// The next event of a stream, or its gist.
    pub(super) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        match self {
            BodyReader::Choices(reader) => reader.event(name, data, facts),
            BodyReader::Items(reader) => reader.event(name, data, facts),
            BodyReader::Messages(reader) => reader.event(data, facts),
            BodyReader::Realtime(reader) => reader.event(data, facts),
            BodyReader::TopLevel(reader) => reader.event(data, facts),
        }
    }

    /// A document or the gist of one, which has been read as far as `chunk` goes.
    pub(super) fn document(
        &mut self,
        document: &[u8],
        chunk: &Chunk<'_>,
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        match self {
            BodyReader::Choices(reader) => reader.feed(chunk, facts),
            BodyReader::Items(reader) => reader.document(document, chunk, facts),
            BodyReader::Messages(reader) => reader.document(document, chunk, facts),
            BodyReader::Realtime(_) => {
                facts.feed(chunk);
                Ok(())
            }
            BodyReader::TopLevel(reader) => reader.document(document, chunk, facts),
        }
    }

    /// The part of a document that is cut or malformed, as far as it can be followed. Its choices and items are
    /// not all there, and none is read; nor is a usage whose numbers are only right together.
    pub(super) fn outline(&self, chunk: &Chunk<'_>, facts: &mut ResponseFacts) {
        match self {
            BodyReader::Messages(_) => facts.labels(chunk),
            _ => facts.feed(chunk),
        }
    }

    /// The usage at the very end of what is malformed further up.
    pub(super) fn last_usage(&self, usage: &Charges, nothing_follows: bool, facts: &mut ResponseFacts) {
        match self {
            // Its names mean something else here.
            BodyReader::Messages(_) => {}
            _ => {
                facts.charge(usage, 0, nothing_follows);
            }
        }
    }

    /// It takes one kind of body and no other: one that cannot be read is an error.
    pub(super) fn is_selective(&self) -> bool {
        !matches!(self, BodyReader::TopLevel(_))
    }

    /// Its texts are counted.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            BodyReader::Choices(_) | BodyReader::Items(_) => true,
            BodyReader::Messages(_) | BodyReader::Realtime(_) | BodyReader::TopLevel(_) => false,
        }
    }

    /// Text that is counted may have stood in what the gist of an event leaves out.
    pub(super) fn may_have_text(&self, gist: &mut Gist) -> bool {
        let left_out_items = gist.left_out_items();
        match (ResponsesEvent::parse(gist.read()).map(|event| event.kind()), self) {
            (Ok(EventKind::Other), BodyReader::Items(_)) => false,
            (Ok(EventKind::Response), _) => left_out_items,
            _ => true,
        }
    }

    /// The same at the same point without the texts.
    pub(super) fn skimming(&self) -> BodyReader {
        match self {
            BodyReader::Choices(reader) => BodyReader::Choices(reader.skimming()),
            BodyReader::Items(reader) => BodyReader::Items(reader.skimming()),
            BodyReader::Messages(reader) => BodyReader::Messages(reader.clone()),
            BodyReader::Realtime(reader) => BodyReader::Realtime(reader.clone()),
            BodyReader::TopLevel(reader) => BodyReader::TopLevel(reader.clone()),
        }
    }

    /// Lets go of the texts that no vocabulary is known for.
    pub(super) fn lose_unnamed(&mut self) {
        match self {
            BodyReader::Choices(reader) => reader.lose_unnamed(),
            BodyReader::Items(reader) => reader.items.lose_unnamed(),
            BodyReader::Messages(_) | BodyReader::Realtime(_) | BodyReader::TopLevel(_) => {}
        }
    }

    /// Bytes of text that a count counts anew.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.uncounted_bytes(),
            BodyReader::Items(reader) => reader.items.uncounted_bytes(),
            BodyReader::Messages(_) | BodyReader::Realtime(_) | BodyReader::TopLevel(_) => 0,
        }
    }

    /// Memory that is held, beside what is constant and the texts.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.memory_bytes(),
            BodyReader::Items(reader) => reader.items.memory_bytes(),
            BodyReader::Messages(_) | BodyReader::Realtime(_) | BodyReader::TopLevel(_) => 0,
        }
    }

    /// Nothing that is counted has been seen.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.choices.is_empty(),
            BodyReader::Items(reader) => reader.items.is_empty(),
            BodyReader::Messages(_) | BodyReader::Realtime(_) | BodyReader::TopLevel(_) => true,
        }
    }

    /// A text, a refusal or a tool call has been seen.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.has_begun(),
            BodyReader::Items(reader) => reader.items.has_begun(),
            BodyReader::Messages(reader) => reader.has_begun,
            BodyReader::Realtime(reader) => reader.has_begun,
            BodyReader::TopLevel(_) => false,
        }
    }

    /// The service has read the prompt: it said something of its own.
    pub(crate) fn has_said(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.has_said(),
            BodyReader::Items(reader) => !reader.items.is_empty(),
            BodyReader::Messages(reader) => reader.has_content,
            BodyReader::Realtime(reader) => reader.has_begun,
            BodyReader::TopLevel(reader) => reader.progressed,
        }
    }

    /// All that has begun has said why it ended.
    pub(super) fn finished(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.finished(),
            BodyReader::Items(_)
            | BodyReader::Messages(_)
            | BodyReader::Realtime(_)
            | BodyReader::TopLevel(_) => false,
        }
    }

    /// The images, the sound or the video that it is about.
    pub(crate) fn media(&self) -> Option<&SeenMedia> {
        match self {
            BodyReader::TopLevel(reader) => Some(&reader.media),
            BodyReader::Choices(_)
            | BodyReader::Items(_)
            | BodyReader::Messages(_)
            | BodyReader::Realtime(_) => None,
        }
    }

    /// How many choices it has.
    pub(crate) fn choice_count(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.choices.len(),
            BodyReader::Items(_)
            | BodyReader::Messages(_)
            | BodyReader::Realtime(_)
            | BodyReader::TopLevel(_) => 0,
        }
    }

    /// The reasons for which it ended.
    pub(crate) fn finish_reasons(&self) -> Vec<SmolStr> {
        match self {
            BodyReader::Choices(reader) => reader.finish_reasons(),
            BodyReader::Items(reader) => reader.finish.iter().cloned().collect(),
            BodyReader::Messages(reader) => reader.finish.iter().cloned().collect(),
            BodyReader::Realtime(reader) => reader.finish.iter().cloned().collect(),
            BodyReader::TopLevel(_) => Vec::new(),
        }
    }

    /// The service has not answered yet, and will: its caller asks again later.
    pub(crate) fn is_in_background(&self) -> bool {
        match self {
            BodyReader::Items(reader) => reader.is_in_background(),
            BodyReader::Choices(_)
            | BodyReader::Messages(_)
            | BodyReader::Realtime(_)
            | BodyReader::TopLevel(_) => false,
        }
    }

    /// Usage that the sidecar asked for was seen by the caller. `passes_all`: no event is taken out of the
    /// stream.
    pub(crate) fn usage_is_visible(&self, passes_all: bool) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.usage_is_visible(passes_all),
            BodyReader::Items(_)
            | BodyReader::Messages(_)
            | BodyReader::Realtime(_)
            | BodyReader::TopLevel(_) => false,
        }
    }
}
