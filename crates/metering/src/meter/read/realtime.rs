//! Reads a response or a transcription of a realtime session: nothing is counted, the service says at the end how
//! it ended and what it cost.

use smol_str::SmolStr;

use super::facts::ResponseFacts;
use super::label::finish_label;
use crate::chunk::{Chunk, Malformed, RealtimeEvent, RealtimeEventKind};

/// How far such a response has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct RealtimeReader {
    /// Its status, once it has ended.
    pub(super) finish: Option<SmolStr>,
    /// Something of it has come.
    pub(super) has_begun: bool,
}

impl RealtimeReader {
    /// The next event.
    pub(super) fn event(&mut self, data: &[u8], facts: &mut ResponseFacts) -> Result<(), Malformed> {
        let (chunk, event) = (Chunk::parse(data)?, RealtimeEvent::parse(data)?);
        facts.feed(&chunk);
        facts.last_event(&chunk);
        match event.kind() {
            RealtimeEventKind::Delta => self.has_begun = true,
            RealtimeEventKind::Done => {
                let Some(response) = event.response() else { return Ok(()) };
                self.finish = response.status.map(|status| finish_label(&status.lossy()));
                if response.has_failed() {
                    facts.fail(&response.failure());
                }
            }
            _ => {}
        }
        Ok(())
    }
}
