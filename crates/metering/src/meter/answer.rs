//! What has been seen of an answer: choice by choice, from chunks or from one whole body.

use std::hash::{DefaultHasher, Hash, Hasher};

use smol_str::SmolStr;

use super::billing::status_named;
use super::charged::Charged;
use super::items::{Items, Place};
use super::text::Text;
use crate::chunk::{
    self, Charges, Chunk, Failure, Joiner, Logprobs, Malformed, Message, Reported, Response, ResponsesEvent,
};
use crate::prompt::{self, Model};
use crate::tokens::Encoding;

/// Choices of one answer; the API's limit for `n` is 128.
const CHOICES_MAX: usize = 128;

/// Tool calls of one choice, and of all choices together; the API's limit for tools is 128.
const CALLS_MAX: usize = 128;
const CALLS_OF_ALL_MAX: usize = 1024;

/// Bytes of a function's name; the API's limit is 64.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of arguments that a choice keeps, and all choices together: several calls are billed on their
/// compact JSON.
const ARGUMENTS_BYTES_MAX: usize = 256 << 10;
const ARGUMENTS_OF_ALL_BYTES_MAX: usize = 1 << 20;

/// Bytes of all texts that are kept while no event has named the model: each may be long, and there may
/// be many. Looked at every so many bytes of events.
const UNNAMED_BYTES_MAX: usize = 512 << 10;
const UNNAMED_LOOK_BYTES: usize = 64 << 10;

/// Characters of a label (model, id, error code) that goes into an event.
const LABEL_CHARS_MAX: usize = 128;

/// Everything that counts of one answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) id: Option<SmolStr>,
    pub(super) model: Option<SmolStr>,
    /// What the model's name says; `None` if there is no name, or one that we do not know.
    pub(super) rules: Option<Model>,
    pub(super) service_tier: Option<SmolStr>,
    /// Seconds since 1970.
    pub(super) created: Option<u64>,
    pub(super) choices: Vec<Choice>,
    /// The same of a Responses answer.
    pub(super) items: Items,
    /// How a Responses answer ended: its status, or why it is incomplete.
    pub(super) finish: Option<SmolStr>,
    /// A Responses answer says that the model was not to think.
    pub(super) thinks_not: bool,
    /// The class of the error that ended it.
    pub(super) error: Option<SmolStr>,
    /// The status that the error names, if it names one that we know.
    pub(super) error_status: Option<u16>,
    /// Something of the answer has come that is not read here: a piece of an image, a voice.
    pub(super) progressed: bool,
    /// The service's last usable word.
    pub(super) reported: Option<Reported>,
    /// It came when nothing more was to come.
    pub(super) reported_last: bool,
    /// A word that is all zeros: it counts where the call itself is what is billed.
    pub(super) zeros: Option<Box<Reported>>,
    /// What else is billed.
    pub(super) charged: Charged,
    /// There were more choices or calls than anybody sends.
    pub(super) overflow: bool,
    /// Some usage was negative, fractional or beyond reason.
    pub(super) implausible: bool,
    /// What all choices hold together.
    held: Held,
    /// Bytes of events since it was looked at how much is kept while no model is known.
    unnamed_bytes: usize,
}

/// What the choices of an answer hold together.
#[derive(Debug, Default)]
struct Held {
    calls: usize,
    argument_bytes: usize,
}

/// One choice so far.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) index: u64,
    pub(super) content: Text,
    pub(super) refusal: Text,
    pub(super) reasoning: Text,
    pub(super) calls: Vec<Call>,
    /// Calls of custom tools.
    pub(super) customs: Vec<Call>,
    pub(super) finish: Option<SmolStr>,
    /// Sums over all chunks.
    pub(super) logprobs: Option<Logprobs>,
    pub(super) audio: bool,
    /// It holds something that we do not know.
    pub(super) odd: bool,
    /// Not all arguments could be kept.
    pub(super) arguments_cut: bool,
    /// Bytes of arguments that are kept.
    argument_bytes: usize,
}

/// One tool call so far.
#[derive(Debug, Default)]
pub(super) struct Call {
    index: u64,
    /// Stands for its `id`: so many of them tell whose a piece is.
    id: Option<u64>,
    pub(super) name: String,
    pub(super) arguments: Text,
    /// The arguments themselves.
    pub(super) kept: Vec<u8>,
}

impl Answer {
    /// The next chunk, or the whole body. `choices` are read if the API is one that we compute.
    pub(super) fn feed(&mut self, chunk: &Chunk<'_>, choices: bool) -> Result<(), Malformed> {
        set_label(&mut self.id, chunk.id, false);
        if set_label(&mut self.model, chunk.model, false) {
            self.rules = self.model.as_deref().and_then(prompt::model);
        }
        set_label(&mut self.service_tier, chunk.service_tier, true);
        self.created = self.created.or(chunk.created.filter(|seconds| *seconds > 0));
        if chunk.is_error() {
            self.fail(&chunk.failure());
        }
        let read = if choices {
            self.reported_last = false;
            self.choices(chunk)
        } else {
            Ok(())
        };
        if let Some(charges) = chunk.charges() {
            self.charge(&charges, 0, !choices || chunk.no_choices());
        }
        read
    }

    /// It failed. Of several errors the last one that has a name stands: what follows one may be no more
    /// than an end.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let class = label(failure.class());
        self.error = class.or(self.error.take()).or(Some(SmolStr::default()));
        self.error_status = failure.names().find_map(status_named).or(self.error_status);
    }

    /// The service has read the prompt: it said something of its own.
    pub(super) fn has_said(&self) -> bool {
        let said = |choice: &Choice| !choice.reasoning.is_empty() || choice.audio;
        self.has_begun() || !self.items.is_empty() || self.progressed || self.choices.iter().any(said)
    }

    /// An event of so many bytes has been read. Texts that no vocabulary is known for are let go of
    /// once there is too much of them.
    pub(super) fn event_read(&mut self, bytes: usize) {
        if self.rules.is_some() {
            return;
        }
        self.unnamed_bytes = self.unnamed_bytes.saturating_add(bytes);
        if self.unnamed_bytes < UNNAMED_LOOK_BYTES {
            return;
        }
        self.unnamed_bytes = 0;
        if self.uncounted_bytes() > UNNAMED_BYTES_MAX {
            self.choices.iter_mut().for_each(Choice::lose_unnamed);
            self.items.lose_unnamed();
        }
    }

    /// What an assessment counts anew, in bytes.
    pub(super) fn uncounted_bytes(&self) -> usize {
        self.items.uncounted_bytes() + self.choices.iter().map(Choice::uncounted_bytes).sum::<usize>()
    }

    /// Memory of its choices, calls and items, with the texts and arguments that are held as they came.
    pub(super) fn memory_bytes(&self) -> usize {
        let choices = self.choices.len() * size_of::<Choice>() + self.held.calls * size_of::<Call>();
        choices + self.held.argument_bytes + self.items.memory_bytes() + self.uncounted_bytes()
    }

    /// More content of a choice that has begun, and nothing else.
    pub(super) fn more_content(&mut self, index: u64, text: chunk::Text<'_>) {
        let encoding = self.rules.map(|model| model.encoding);
        self.reported_last = false;
        if let Some(choice) = self.choices.iter_mut().find(|choice| choice.index == index) {
            choice.content.push(text, encoding);
        }
    }

    /// The next event of a Responses answer. Returns the place of its text, if adding a delta there was
    /// all that it did.
    pub(super) fn feed_event(&mut self, event: &ResponsesEvent<'_>) -> Result<Option<Place>, Malformed> {
        self.reported_last = false;
        self.items.feed(event, self.rules.map(|model| model.encoding), &mut self.charged)
    }

    /// More of a text of a Responses answer.
    pub(super) fn more_text(&mut self, place: Place, text: chunk::Text<'_>) {
        self.reported_last = false;
        self.items.more(place, text, self.rules.map(|model| model.encoding));
    }

    /// A response as it is now; `last`: as it ended.
    pub(super) fn feed_response(&mut self, response: &Response<'_>, last: bool) -> Result<(), Malformed> {
        if last && response.status.is_some_and(|status| &*status.key() == b"failed") {
            self.error.get_or_insert_default();
        }
        if let Some(finish) = response.incomplete_reason.or(response.status).filter(|_| last) {
            self.finish = Some(finish_label(&finish.lossy()));
        }
        if let Some(effort) = response.effort {
            self.thinks_not = *effort.key() == *b"none";
        }
        self.items.whole_answer(response, self.rules.map(|model| model.encoding), &mut self.charged)
    }

    /// Nothing of it has been seen.
    pub(super) fn is_empty(&self) -> bool {
        self.choices.is_empty() && self.items.is_empty()
    }

    /// A text, a refusal or a tool call has been seen.
    pub(super) fn has_begun(&self) -> bool {
        self.items.has_begun() || self.choices.iter().any(Choice::has_begun)
    }

    /// The same without the texts: all that is left is what was reported.
    pub(super) fn skimming(&self) -> Answer {
        let ends = |choice: &Choice| Choice {
            index: choice.index,
            finish: choice.finish.clone(),
            ..Choice::default()
        };
        Answer {
            id: self.id.clone(),
            model: self.model.clone(),
            service_tier: self.service_tier.clone(),
            choices: self.choices.iter().map(ends).collect(),
            items: Items::default(),
            finish: self.finish.clone(),
            error: self.error.clone(),
            reported: self.reported.clone(),
            charged: self.charged.clone(),
            zeros: self.zeros.clone(),
            held: Held::default(),
            ..*self
        }
    }

    /// What the answer says of its cost, or one of its items (`item`: its place): the last usable word
    /// stands.
    pub(super) fn charge(&mut self, charges: &Charges, item: u64, nothing_follows: bool) {
        self.charged.add(charges, item);
        let Some(reported) = charges.usage() else { return };
        self.implausible |= reported.implausible;
        if reported.usable() {
            self.reported = Some(reported);
            self.reported_last = nothing_follows || self.finished();
        } else if reported.is_usage() && self.zeros.is_none() {
            self.zeros = Some(Box::new(reported));
        }
    }

    /// Every choice that has begun has said why it ended.
    fn finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish.is_some())
    }

    fn choices(&mut self, chunk: &Chunk<'_>) -> Result<(), Malformed> {
        let mut all_read = Ok(());
        let encoding = self.rules.map(|model| model.encoding);
        let (choices, overflow, held) = (&mut self.choices, &mut self.overflow, &mut self.held);
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
                choices.push(Choice { index: part.index, ..Choice::default() });
                choices.len() - 1
            });
            choices[place].odd |= again; // which of them the next chunk goes on with is not said
            let read = choices[place].feed(&part, encoding, held);
            all_read = all_read.and(read);
        })?;
        all_read
    }
}

impl Choice {
    fn feed(
        &mut self,
        part: &chunk::Choice<'_>,
        encoding: Option<Encoding>,
        held: &mut Held,
    ) -> Result<(), Malformed> {
        if let Some(reason) = part.finish_reason {
            self.finish = Some(finish_label(&reason.lossy()));
        }
        if let Some(more) = part.logprobs() {
            self.logprobs.get_or_insert(Logprobs { entries: 0, bytes: Some(0) }).add(more);
        }
        let message = part.message()?;
        let push = |text: &mut Text, delta: Option<chunk::Text<'_>>| {
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
        held: &mut Held,
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

    fn feed_call(&mut self, part: &chunk::Call<'_>, encoding: Option<Encoding>, held: &mut Held) {
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
    /// A call has one `id` and one name. Where another shows in the same place, somebody does not number
    /// the calls: another call has begun, and the count is not sure.
    fn call(&mut self, part: &chunk::Call<'_>, held: &mut Held) -> Option<&mut Call> {
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
                calls.push(Call { index: part.index, ..Call::default() });
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

    fn texts(&self) -> impl Iterator<Item = &Text> {
        let calls = self.calls.iter().chain(&self.customs).map(|call| &call.arguments);
        [&self.content, &self.refusal, &self.reasoning].into_iter().chain(calls)
    }

    fn lose_unnamed(&mut self) {
        let calls = self.calls.iter_mut().chain(&mut self.customs).map(|call| &mut call.arguments);
        let texts = [&mut self.content, &mut self.refusal, &mut self.reasoning];
        texts.into_iter().chain(calls).for_each(Text::lose_unnamed);
    }

    fn uncounted_bytes(&self) -> usize {
        // Several calls are counted as one, from what is kept of them.
        let several = if self.calls.len() > 1 { self.argument_bytes } else { 0 };
        several + self.texts().map(Text::uncounted_bytes).sum::<usize>()
    }

    /// A delta with text, a refusal or a tool call has been seen.
    fn has_begun(&self) -> bool {
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

/// Sets a label that is there and not empty; `again`: the last one stands, else the first.
/// Returns whether it has changed.
fn set_label(slot: &mut Option<SmolStr>, text: Option<chunk::Text<'_>>, again: bool) -> bool {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return false };
    if slot.is_some() && !again {
        return false;
    }
    let text = text.lossy();
    if slot.as_deref() == Some(&*text) {
        return false;
    }
    match label(&text) {
        Some(label) => *slot = Some(label),
        None => return false,
    }
    true
}

/// A name that may stand in an event: short, printable ASCII.
pub(super) fn label(text: &str) -> Option<SmolStr> {
    let fits = !text.is_empty() && text.len() <= LABEL_CHARS_MAX;
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')).then(|| text.into())
}

/// A finish reason is a word of the API; anything else is `other`.
fn finish_label(reason: &str) -> SmolStr {
    let is_word = reason.len() <= 32 && reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_word && !reason.is_empty() { reason.into() } else { SmolStr::new_static("other") }
}
