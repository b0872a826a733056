//! The kinds of readers. The table of APIs says which of them a response needs.

use smol_str::SmolStr;

use super::choices::ChoicesReader;
use super::facts::ResponseFacts;
use super::items::ItemsReader;
use super::top_level::TopLevelReader;
use crate::api::BodyKind;
use crate::chunk::{Chunk, EventKind, Gist, Malformed, ResponsesEvent};

/// The reader of one kind of body, with what it has found beside the facts.
#[derive(Debug)]
pub(crate) enum BodyReader {
    Choices(ChoicesReader),
    Items(ItemsReader),
    TopLevel(TopLevelReader),
}

impl BodyReader {
    /// A reader that has read nothing.
    pub(super) fn of(kind: BodyKind) -> BodyReader {
        match kind {
            BodyKind::Choices => BodyReader::Choices(ChoicesReader::default()),
            BodyKind::Items => BodyReader::Items(ItemsReader::default()),
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
            BodyReader::TopLevel(_) => {
                facts.feed(chunk);
                Ok(())
            }
        }
    }

    /// Its texts are counted.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            BodyReader::Choices(_) | BodyReader::Items(_) => true,
            BodyReader::TopLevel(_) => false,
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
            BodyReader::TopLevel(reader) => BodyReader::TopLevel(reader.clone()),
        }
    }

    /// Lets go of the texts that no vocabulary is known for.
    pub(super) fn lose_unnamed(&mut self) {
        match self {
            BodyReader::Choices(reader) => reader.lose_unnamed(),
            BodyReader::Items(reader) => reader.items.lose_unnamed(),
            BodyReader::TopLevel(_) => {}
        }
    }

    /// Bytes of text that a count counts anew.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.uncounted_bytes(),
            BodyReader::Items(reader) => reader.items.uncounted_bytes(),
            BodyReader::TopLevel(_) => 0,
        }
    }

    /// Memory that is held, beside what is constant and the texts.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.memory_bytes(),
            BodyReader::Items(reader) => reader.items.memory_bytes(),
            BodyReader::TopLevel(_) => 0,
        }
    }

    /// Nothing that is counted has been seen.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.choices.is_empty(),
            BodyReader::Items(reader) => reader.items.is_empty(),
            BodyReader::TopLevel(_) => true,
        }
    }

    /// A text, a refusal or a tool call has been seen.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.has_begun(),
            BodyReader::Items(reader) => reader.items.has_begun(),
            BodyReader::TopLevel(_) => false,
        }
    }

    /// The service has read the prompt: it said something of its own.
    pub(crate) fn has_said(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.has_said(),
            BodyReader::Items(reader) => !reader.items.is_empty(),
            BodyReader::TopLevel(reader) => reader.progressed,
        }
    }

    /// All that has begun has said why it ended.
    pub(super) fn finished(&self) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.finished(),
            BodyReader::Items(_) | BodyReader::TopLevel(_) => false,
        }
    }

    /// How many choices it has.
    pub(crate) fn choice_count(&self) -> usize {
        match self {
            BodyReader::Choices(reader) => reader.choices.len(),
            BodyReader::Items(_) | BodyReader::TopLevel(_) => 0,
        }
    }

    /// The reasons for which it ended.
    pub(crate) fn finish_reasons(&self) -> Vec<SmolStr> {
        match self {
            BodyReader::Choices(reader) => reader.finish_reasons(),
            BodyReader::Items(reader) => reader.finish.iter().cloned().collect(),
            BodyReader::TopLevel(_) => Vec::new(),
        }
    }

    /// The service has not answered yet, and will: its caller asks again later.
    pub(crate) fn is_in_background(&self) -> bool {
        match self {
            BodyReader::Items(reader) => reader.is_in_background(),
            BodyReader::Choices(_) | BodyReader::TopLevel(_) => false,
        }
    }

    /// Usage that the sidecar asked for was seen by the caller. `passes_all`: no event is taken out of the
    /// stream.
    pub(crate) fn usage_is_visible(&self, passes_all: bool) -> bool {
        match self {
            BodyReader::Choices(reader) => reader.usage_is_visible(passes_all),
            BodyReader::Items(_) | BodyReader::TopLevel(_) => false,
        }
    }
}
