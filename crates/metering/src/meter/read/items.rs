//! Reads responses that are lists of items: the Responses API.

use smol_str::SmolStr;

use super::facts::ResponseFacts;
use super::item::{SeenItems, TextPlace};
use super::label::{finish_label, set_label};
use super::shape::DeltaShape;
use crate::chunk::{Chunk, EventKind, Malformed, Response, ResponsesEvent};

/// The items of a response so far.
#[derive(Debug, Default)]
pub(crate) struct ItemsReader {
    pub(crate) items: SeenItems,
    /// How it ended: its status, or why it is incomplete.
    pub(crate) finish: Option<SmolStr>,
    /// It says that the model was not to think.
    pub(crate) thinks_not: bool,
    last_delta: DeltaShape<TextPlace>,
}

impl ItemsReader {
    /// The next event of a stream.
    pub(super) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        let is_error = name == b"error";
        if !is_error && let Some((place, text)) = self.last_delta.text(data) {
            facts.reported_last = false;
            self.items.more(place, text, facts.encoding());
            return Ok(());
        }
        let event = ResponsesEvent::parse(data)?;
        let kind = event.kind();
        facts.reported_last = false;
        if let Some(place) = self.items.feed(&event, facts.encoding(), &mut facts.charged)? {
            if !is_error {
                self.last_delta.learn_event(data, place, &event);
            }
            return Ok(());
        }
        if !matches!(kind, EventKind::Response | EventKind::Last | EventKind::Other) {
            return Ok(());
        }
        // The model's name first: it says how to count.
        let chunk = Chunk::parse(data)?;
        facts.feed(&chunk);
        facts.last_event(&chunk);
        match event.response()? {
            Some(response) => self.response(&response, kind == EventKind::Last, facts),
            None => Ok(()),
        }
    }

    /// A whole document.
    pub(super) fn document(
        &mut self,
        document: &[u8],
        chunk: &Chunk<'_>,
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        facts.feed(chunk);
        self.response(&Response::parse(document)?, true, facts)
    }

    /// A response as it is now; `last`: as it ended.
    fn response(
        &mut self,
        response: &Response<'_>,
        last: bool,
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        if last && response.status.is_some_and(|status| &*status.key() == b"failed") {
            facts.error.get_or_insert_default();
        }
        if let Some(finish) = response.incomplete_reason.or(response.status).filter(|_| last) {
            self.finish = Some(finish_label(&finish.lossy()));
        }
        facts.see_response(response);
        set_label(&mut facts.agent, response.agent, false);
        if let Some(effort) = response.effort {
            self.thinks_not = *effort.key() == *b"none";
        }
        self.items.whole_response(response, facts.encoding(), &mut facts.charged)
    }

    /// The service has not answered yet, and will: its caller asks again later.
    pub(super) fn is_in_background(&self) -> bool {
        matches!(self.finish.as_deref(), Some("queued" | "in_progress"))
    }

    /// The same without the texts.
    pub(super) fn skimming(&self) -> ItemsReader {
        ItemsReader { finish: self.finish.clone(), thinks_not: self.thinks_not, ..ItemsReader::default() }
    }

    /// The data is a delta like the last one.
    #[cfg(test)]
    pub(crate) fn is_last_shape(&self, data: &[u8]) -> bool {
        self.last_delta.text(data).is_some()
    }
}
