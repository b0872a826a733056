//! One choice of a response so far, and the tool calls in it.

use std::hash::{DefaultHasher, Hash, Hasher};

use smol_str::SmolStr;

use super::label::finish_label;
use super::text::CountedText;
use crate::chunk::{self, Joiner, Logprobs, Malformed, Message};
use crate::tokens::Encoding;

/// Tool calls of one choice, and of all choices together; the API's limit for tools is 128.
const CALLS_MAX: usize = 128;
const CALLS_OF_ALL_MAX: usize = 1024;

/// Bytes of a function's name; the API's limit is 64.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of arguments that a choice keeps, and all choices together: several calls are billed on their
/// compact JSON.
const ARGUMENTS_BYTES_MAX: usize = 256 << 10;
const ARGUMENTS_OF_ALL_BYTES_MAX: usize = 1 << 20;

/// Tool calls and bytes of arguments that the choices of a response hold together.
#[derive(Debug, Default)]
pub(super) struct HeldCalls {
    calls: usize,
    argument_bytes: usize,
}

/// One choice so far.
#[derive(Debug, Default)]
pub(crate) struct SeenChoice {
    pub(crate) index: u64,
    pub(crate) content: CountedText,
    pub(crate) refusal: CountedText,
    pub(crate) reasoning: CountedText,
    pub(crate) calls: Vec<SeenCall>,
    /// Calls of custom tools.
    pub(crate) customs: Vec<SeenCall>,
    pub(crate) finish: Option<SmolStr>,
    /// Sums over all chunks.
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) audio: bool,
    /// It holds something that is not known here.
    pub(crate) odd: bool,
    /// Not all arguments could be kept.
    pub(crate) arguments_cut: bool,
    /// Bytes of arguments that are kept.
    argument_bytes: usize,
}

/// One tool call so far.
#[derive(Debug, Default)]
pub(crate) struct SeenCall {
    index: u64,
    /// Stands for its `id`: so many of them tell whose a piece is.
    id: Option<u64>,
    pub(crate) name: String,
    pub(crate) arguments: CountedText,
    /// The arguments themselves.
    pub(crate) kept: Vec<u8>,
}

impl HeldCalls {
    /// Memory of them, beside the texts.
    pub(super) fn memory_bytes(&self) -> usize {
        self.calls * size_of::<SeenCall>() + self.argument_bytes
    }
}

impl SeenChoice {
    /// Nothing yet of the choice with that index.
    pub(super) fn at(index: u64) -> SeenChoice {
        SeenChoice { index, ..SeenChoice::default() }
    }

    /// The same without the texts: its end.
    pub(super) fn skimming(&self) -> SeenChoice {
        SeenChoice { finish: self.finish.clone(), ..SeenChoice::at(self.index) }
    }

    /// More of its content.
    pub(super) fn more_content(&mut self, text: chunk::Text<'_>, encoding: Option<Encoding>) {
        self.content.push(text, encoding);
    }

    /// It has something that only a model says.
    pub(super) fn has_said(&self) -> bool {
        self.has_begun() || !self.reasoning.is_empty() || self.audio
    }

    pub(super) fn feed(
        &mut self,
        part: &chunk::Choice<'_>,
        encoding: Option<Encoding>,
        held: &mut HeldCalls,
    ) -> Result<(), Malformed> {
        if let Some(reason) = part.finish_reason {
            self.finish = Some(finish_label(&reason.lossy()));
        }
        if let Some(more) = part.logprobs() {
            self.logprobs.get_or_insert(Logprobs { entries: 0, bytes: Some(0) }).add(more);
        }
        let message = part.message()?;
        let push = |text: &mut CountedText, delta: Option<chunk::Text<'_>>| {
            if let Some(delta) = delta {
                text.push(delta, encoding);
            }
        };
        push(&mut self.content, message.content);
        push(&mut self.refusal, message.refusal);
        push(&mut self.reasoning, message.reasoning);
        self.audio |= message.audio;
        self.odd |= message.odd;
        self.feed_calls(&message, encoding, held)
    }

    fn feed_calls(
        &mut self,
        message: &Message<'_>,
        encoding: Option<Encoding>,
        held: &mut HeldCalls,
    ) -> Result<(), Malformed> {
        if let Some(call) = &message.function_call {
            self.feed_call(call, encoding, held);
        }
        let (mut last, mut again) = (None, false);
        let read = message.tool_calls(|call| {
            again |= last.replace(call.index) == Some(call.index);
            self.feed_call(&call, encoding, held);
        });
        self.odd |= again;
        read
    }

    fn feed_call(&mut self, part: &chunk::Call<'_>, encoding: Option<Encoding>, held: &mut HeldCalls) {
        self.odd |= part.odd;
        let Some(call) = self.call(part, held) else { return };
        let Some(arguments) = part.arguments else { return };
        call.arguments.push(arguments, encoding);
        if part.custom {
            return; // only calls of functions are billed together
        }
        let room =
            (ARGUMENTS_BYTES_MAX - self.argument_bytes).min(ARGUMENTS_OF_ALL_BYTES_MAX - held.argument_bytes);
        let Some(call) = self.calls.iter_mut().rfind(|call| call.index == part.index) else { return };
        let (mut kept, mut cut) = (0, false);
        Joiner::default().feed(arguments, |part| {
            if kept + part.len() <= room {
                call.kept.extend_from_slice(part);
                kept += part.len();
            } else {
                cut = true;
            }
        });
        self.arguments_cut |= cut;
        self.argument_bytes += kept;
        held.argument_bytes += kept;
    }

    /// The call that a piece belongs to, made if it is new; `None` if there are too many.
    ///
    /// A call has one `id` and one name. Where another shows in the same place, the calls are not
    /// numbered: another call has begun, and the count is not sure.
    fn call(&mut self, part: &chunk::Call<'_>, held: &mut HeldCalls) -> Option<&mut SeenCall> {
        let all = self.calls.len() + self.customs.len();
        let calls = if part.custom { &mut self.customs } else { &mut self.calls };
        let id = part.id.map(|id| hash(id.raw()));
        let name = part.name.filter(|name| !name.is_empty()).map(|name| name.lossy());
        let mut place = calls.iter().rposition(|call| call.index == part.index);
        let mut again = false;
        if let Some(call) = place.map(|place| &calls[place]) {
            let other_id = id.is_some_and(|id| call.id.is_some_and(|known| known != id));
            let same_id = id.is_some() && id == call.id;
            let named = name.as_deref().filter(|_| !call.name.is_empty());
            again = named.is_some_and(|name| name == call.name) && !other_id;
            let other_name = named.is_some() && !again && !call.arguments.is_empty() && !same_id;
            self.odd |= other_id || named.is_some();
            if other_id || other_name {
                place = None;
            }
        }
        let place = match place {
            Some(place) => place,
            None if all == CALLS_MAX || held.calls == CALLS_OF_ALL_MAX => {
                self.arguments_cut = true;
                return None;
            }
            None => {
                held.calls += 1;
                calls.push(SeenCall { index: part.index, ..SeenCall::default() });
                calls.len() - 1
            }
        };
        let call = &mut calls[place];
        call.id = call.id.or(id);
        if let Some(name) = name.filter(|_| !again) {
            if call.name.len() + name.len() <= NAME_BYTES_MAX {
                call.name.push_str(&name);
            } else {
                self.odd = true;
            }
        }
        Some(call)
    }

    fn texts(&self) -> impl Iterator<Item = &CountedText> {
        let calls = self.calls.iter().chain(&self.customs).map(|call| &call.arguments);
        [&self.content, &self.refusal, &self.reasoning].into_iter().chain(calls)
    }

    pub(super) fn lose_unnamed(&mut self) {
        let calls = self.calls.iter_mut().chain(&mut self.customs).map(|call| &mut call.arguments);
        let texts = [&mut self.content, &mut self.refusal, &mut self.reasoning];
        texts.into_iter().chain(calls).for_each(CountedText::lose_unnamed);
    }

    pub(super) fn uncounted_bytes(&self) -> usize {
        // Several calls are counted as one, from what is kept of them.
        let several = if self.calls.len() > 1 { self.argument_bytes } else { 0 };
        several + self.texts().map(CountedText::uncounted_bytes).sum::<usize>()
    }

    /// A delta with text, a refusal or a tool call has been seen.
    pub(super) fn has_begun(&self) -> bool {
        let calls = self.calls.len() + self.customs.len();
        !(self.content.is_empty() && self.refusal.is_empty() && calls == 0)
    }
}

/// Stands for an `id`. The same bytes always give the same number.
fn hash(id: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
