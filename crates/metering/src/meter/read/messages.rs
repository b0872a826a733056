//! Reads Anthropic's Messages, of which nothing is counted: there is no public vocabulary.

use smol_str::SmolStr;

use super::facts::ResponseFacts;
use super::label::{finish_label, set_label};
use crate::chunk::{AnthropicMessage, Chunk, Malformed, MessagesCost, MessagesEvent, MessagesEventKind};

/// A message so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessagesReader {
    cost: MessagesCost,
    /// Why it ended.
    pub(super) finish: Option<SmolStr>,
    /// A block of its content has begun.
    pub(super) has_content: bool,
    /// Text, the input of a tool, or thinking has come.
    pub(super) has_begun: bool,
}

impl MessagesReader {
    /// The next event of a stream.
    pub(super) fn event(&mut self, data: &[u8], facts: &mut ResponseFacts) -> Result<(), Malformed> {
        let event = MessagesEvent::parse(data)?;
        match event.kind() {
            MessagesEventKind::Start => {
                let Some(started) = event.started() else { return Ok(()) };
                facts.labels(&Chunk::parse(started)?);
                self.message(&AnthropicMessage::parse(started)?, false, facts);
            }
            MessagesEventKind::Delta => self.message(&event.change()?, false, facts),
            MessagesEventKind::Block => self.has_content = true,
            MessagesEventKind::BlockDelta => {
                self.has_content = true;
                self.has_begun = self.has_begun || event.is_said()?;
            }
            MessagesEventKind::Other => {
                facts.labels(&Chunk::parse(data)?);
                facts.done |= event.is_last();
            }
        }
        Ok(())
    }

    /// A whole document.
    pub(super) fn document(
        &mut self,
        document: &[u8],
        chunk: &Chunk<'_>,
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        facts.labels(chunk);
        self.message(&AnthropicMessage::parse(document)?, true, facts);
        Ok(())
    }

    /// Takes in what is said of the message; `last`: as it ended. Before the last event its output is a running total, even
    /// where an event names a reason to stop: such events may come again.
    fn message(&mut self, message: &AnthropicMessage<'_>, last: bool, facts: &mut ResponseFacts) {
        if let Some(reason) = message.stop_reason {
            self.finish = Some(finish_label(&reason.lossy()));
        }
        let Some(usage) = message.usage() else { return };
        set_label(&mut facts.service_tier, usage.service_tier, true);
        set_label(&mut facts.speed, usage.speed, true);
        set_label(&mut facts.inference_geo, usage.inference_geo, true);
        facts.implausible |= usage.implausible;
        if !usage.implausible {
            self.cost.replace(usage.cost);
            facts.report(self.cost.reported(), last);
            facts.charged.replace(self.cost.tools(), self.cost.units());
        }
    }
}
