//! Reads responses that are lists of choices: chat completions and the older completions.

use smol_str::SmolStr;

use super::choice::{HeldCalls, SeenChoice};
use super::facts::ResponseFacts;
use super::shape::DeltaShape;
use crate::chunk::{self, Chunk, Malformed, is_usage_event};

/// Choices of one response; the API's limit for `n` is 128.
const CHOICES_MAX: usize = 128;

/// The choices of a response so far.
#[derive(Debug, Default)]
pub(crate) struct ChoicesReader {
    pub(crate) choices: Vec<SeenChoice>,
    /// There were more choices than any service sends.
    pub(crate) overflow: bool,
    held: HeldCalls,
    last_chunk: DeltaShape<u64>,
    /// Chunks with a usage.
    usage_events: u64,
    /// One of them is none that can be taken out of the stream, or not the first.
    usage_stays: bool,
}

impl ChoicesReader {
    /// The next chunk of a stream.
    pub(super) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        facts: &mut ResponseFacts,
    ) -> Result<(), Malformed> {
        if name.is_empty()
            && let Some((choice, text)) = self.last_chunk.text(data)
        {
            self.more_content(choice, text, facts);
            return Ok(());
        }
        let chunk = Chunk::parse(data)?;
        let read = self.feed(&chunk, facts);
        if chunk.has_usage() {
            self.usage_stays |= self.usage_events > 0 || !is_usage_event(data);
            self.usage_events += 1;
        }
        facts.last_event(&chunk);
        if name.is_empty() && read.is_ok() {
            self.last_chunk.learn_chunk(data, &chunk);
        }
        read
    }

    /// A chunk, or a whole document: they differ in little.
    pub(super) fn feed(&mut self, chunk: &Chunk<'_>, facts: &mut ResponseFacts) -> Result<(), Malformed> {
        facts.labels(chunk);
        facts.reported_last = false;
        let read = self.read(chunk, facts);
        if let Some(charges) = chunk.charges() {
            facts.charge(&charges, 0, chunk.no_choices() || self.finished());
        }
        read
    }

    fn read(&mut self, chunk: &Chunk<'_>, facts: &ResponseFacts) -> Result<(), Malformed> {
        let mut all_read = Ok(());
        let encoding = facts.encoding();
        let ChoicesReader { choices, overflow, held, .. } = self;
        let mut last = None;
        chunk.choices(|part| {
            let again = last.replace(part.index) == Some(part.index);
            let place = choices.iter().position(|choice| choice.index == part.index);
            if place.is_none() && choices.len() == CHOICES_MAX {
                *overflow = true;
                return;
            }
            let place = place.unwrap_or_else(|| {
                if choices.is_empty() {
                    choices.reserve_exact(1); // the only one, as a rule: by itself it makes room for four
                }
                choices.push(SeenChoice::at(part.index));
                choices.len() - 1
            });
            choices[place].odd |= again; // which of them the next chunk goes on with is not said
            let read = choices[place].feed(&part, encoding, held);
            all_read = all_read.and(read);
        })?;
        all_read
    }

    /// More content of a choice that has begun, and nothing else.
    fn more_content(&mut self, index: u64, text: chunk::Text<'_>, facts: &mut ResponseFacts) {
        facts.reported_last = false;
        if let Some(choice) = self.choices.iter_mut().find(|choice| choice.index == index) {
            choice.more_content(text, facts.encoding());
        }
    }

    /// Every choice that has begun has said why it ended.
    pub(super) fn finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// The reasons for which they ended, in order of their indices.
    pub(super) fn finish_reasons(&self) -> Vec<SmolStr> {
        let mut choices: Vec<_> = self.choices.iter().collect();
        choices.sort_by_key(|choice| choice.index);
        choices.into_iter().filter_map(|choice| choice.finish.clone()).collect()
    }

    /// Usage that the sidecar asked for was seen by the caller. `passes_all`: no event is taken out of the stream.
    pub(super) fn usage_is_visible(&self, passes_all: bool) -> bool {
        (passes_all && self.usage_events > 0) || self.usage_stays
    }

    /// The same without the texts.
    pub(super) fn skimming(&self) -> ChoicesReader {
        ChoicesReader {
            choices: self.choices.iter().map(SeenChoice::skimming).collect(),
            held: HeldCalls::default(),
            last_chunk: DeltaShape::default(),
            ..*self
        }
    }

    /// Lets go of the texts that no vocabulary is known for.
    pub(super) fn lose_unnamed(&mut self) {
        self.choices.iter_mut().for_each(SeenChoice::lose_unnamed);
    }

    /// Bytes of text that a count counts anew.
    pub(super) fn uncounted_bytes(&self) -> usize {
        self.choices.iter().map(SeenChoice::uncounted_bytes).sum()
    }

    /// Memory of the choices and calls, with the arguments that are held as they came.
    pub(super) fn memory_bytes(&self) -> usize {
        self.choices.len() * size_of::<SeenChoice>() + self.held.memory_bytes()
    }

    /// A text, a refusal or a tool call has been seen.
    pub(super) fn has_begun(&self) -> bool {
        self.choices.iter().any(SeenChoice::has_begun)
    }

    /// Something has been seen that only a model says.
    pub(super) fn has_said(&self) -> bool {
        self.choices.iter().any(SeenChoice::has_said)
    }
}
