//! Reads responses of which nothing is counted: labels, errors and costs at the top level of the document and
//! of each event, and what it says of images, sound and video.

use smol_str::SmolStr;

use super::facts::ResponseFacts;
use super::label::label;
use crate::chunk::{Chunk, Malformed, Media, SIZE_CHARS_MAX, Text};

/// How far such a response has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopLevelReader {
    /// Something of it has come that is not read here: a piece of an image, a voice.
    pub(super) progressed: bool,
    /// Images, sound or video that it is about.
    pub(super) media: SeenMedia,
}

/// Images, sound or video, as a response told of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenMedia {
    /// The size that was named last.
    pub(crate) size: Option<SmolStr>,
    /// The quality that was named last.
    pub(crate) quality: Option<SmolStr>,
    /// Entries of the document's `data`.
    pub(crate) entries: Option<u64>,
    /// How long the sound is that was heard.
    pub(crate) duration_ms: Option<u64>,
}

impl TopLevelReader {
    /// The next event of a stream.
    pub(super) fn event(&mut self, data: &[u8], facts: &mut ResponseFacts) -> Result<(), Malformed> {
        let (chunk, media) = (Chunk::parse(data)?, Media::parse(data)?);
        facts.end_result(&chunk);
        facts.feed(&chunk);
        facts.see_work(data)?;
        self.progressed |= chunk.kind.is_some_and(|kind| is_progress(&kind.key()));
        facts.last_event(&chunk);
        self.media.labels(&media);
        Ok(())
    }

    /// A whole document.
    pub(super) fn document(
        &mut self,
        document: &[u8],
        chunk: &Chunk<'_>,
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        facts.feed(chunk);
        facts.see_work(document)?;
        let media = Media::parse(document)?;
        self.media.labels(&media);
        (self.media.entries, self.media.duration_ms) = (media.entries, media.duration_ms);
        Ok(())
    }
}

impl SeenMedia {
    fn labels(&mut self, media: &Media<'_>) {
        let short = |text: Option<Text<'_>>| {
            let text = text.map(|text| text.lossy()).filter(|text| text.len() <= SIZE_CHARS_MAX)?;
            label(&text)
        };
        self.size = short(media.size).or(self.size.take());
        self.quality = short(media.quality).or(self.quality.take());
    }
}

/// An event of this `type` brings some of a response that is not read here: it is no greeting, no sign
/// of life and no error.
fn is_progress(kind: &[u8]) -> bool {
    let preface = [&b"error"[..], b"ping", b"message_start", b"response.failed"];
    let states = [&b".created"[..], b".queued", b".in_progress"];
    !preface.contains(&kind) && !states.iter().any(|state| kind.ends_with(state))
}
