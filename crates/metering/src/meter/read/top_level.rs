//! Reads responses of which nothing is counted: labels, errors and costs at the top level of the document and
//! of each event.

use super::facts::ResponseFacts;
use crate::chunk::{Chunk, Malformed};

/// How far such a response has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopLevelReader {
    /// Something of it has come that is not read here: a piece of an image, a voice.
    pub(super) progressed: bool,
}

impl TopLevelReader {
    /// The next event of a stream.
    pub(super) fn event(&mut self, data: &[u8], facts: &mut ResponseFacts) -> Result<(), Malformed> {
        let chunk = Chunk::parse(data)?;
        facts.feed(&chunk);
        self.progressed |= chunk.kind.is_some_and(|kind| is_progress(&kind.key()));
        facts.last_event(&chunk);
        Ok(())
    }
}

/// An event of this `type` brings some of a response that is not read here: it is no greeting, no sign
/// of life and no error.
fn is_progress(kind: &[u8]) -> bool {
    let preface = [&b"error"[..], b"ping", b"message_start", b"response.failed"];
    let states = [&b".created"[..], b".queued", b".in_progress"];
    !preface.contains(&kind) && !states.iter().any(|state| kind.ends_with(state))
}
