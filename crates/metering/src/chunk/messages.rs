//! Anthropic's Messages: the events of a stream, and what a message costs. Its `usage` has names of its own that
//! add up otherwise than those of other APIs: `input_tokens` are only those that were neither read from a cache nor
//! written to one. A stream tells it member by member, each time as it is by then.

use std::collections::BTreeMap;

use super::charges::{BilledUnits, ToolCharge, ToolName};
use super::json::{Malformed, Text, Value, elements, members};
use super::reported::{PLAUSIBLE_MAX, Reported, bound_other, keep_other};
use crate::api::last_event;

/// Entries of `iterations` that are read. Each turn with a tool of the service is one.
pub(super) const ITERATIONS_MAX: usize = 128;

/// Bytes of a model's name: as many as go into an event.
const MODEL_BYTES_MAX: usize = 128;

/// One event of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagesEvent<'a> {
    kind: Option<Text<'a>>,
    message: Option<&'a [u8]>,
    delta: Option<&'a [u8]>,
    usage: Option<&'a [u8]>,
}

/// The events that say something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagesEventKind {
    /// `message_start`
    Start,
    /// `content_block_start`
    Block,
    /// `content_block_delta`
    BlockDelta,
    /// `message_delta`
    Delta,
    /// Every other one.
    Other,
}

/// A message, or what an event says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnthropicMessage<'a> {
    /// `stop_reason`
    pub stop_reason: Option<Text<'a>>,
    usage: Option<&'a [u8]>,
}

/// A `usage` object.
#[derive(Clone, Debug, Default)]
pub struct MessagesUsage<'a> {
    /// `service_tier`
    pub service_tier: Option<Text<'a>>,
    /// `speed`
    pub speed: Option<Text<'a>>,
    /// `inference_geo`
    pub inference_geo: Option<Text<'a>>,
    /// Its numbers.
    pub cost: MessagesCost,
    /// One of them is negative, fractional or beyond reason.
    pub implausible: bool,
}

/// The numbers that a message has cost so far.
#[derive(Clone, Debug, Default)]
pub struct MessagesCost {
    own: CacheSplit,
    thinking: Option<u64>,
    web_searches: Option<u64>,
    web_fetches: Option<u64>,
    iterations: Option<Iterations>,
    other: BTreeMap<String, u64>,
}

/// The numbers that a usage and each of its iterations have.
#[derive(Clone, Copy, Debug, Default)]
struct CacheSplit {
    /// `input_tokens`
    uncached: Option<u64>,
    /// `cache_read_input_tokens`
    read: Option<u64>,
    /// `cache_creation_input_tokens`
    written: Option<u64>,
    /// `cache_creation.ephemeral_1h_input_tokens`
    written_long: Option<u64>,
    /// `output_tokens`
    output: Option<u64>,
}

/// Where they stand in the object.
#[derive(Clone, Copy, Debug, Default)]
struct SplitMembers<'a> {
    uncached: Option<Value<'a>>,
    read: Option<Value<'a>>,
    written: Option<Value<'a>>,
    /// `cache_creation`
    written_by_age: Option<&'a [u8]>,
    output: Option<Value<'a>>,
}

/// `iterations`: the runs of models that the message is made of.
#[derive(Clone, Debug, Default)]
struct Iterations {
    /// Sums over those of the message's own model, if there are any.
    own: Option<CacheSplit>,
    /// Those of an advisor, each with its model.
    advisors: Vec<(Option<String>, CacheSplit)>,
    /// There are more than are read.
    more: bool,
}

impl<'a> MessagesEvent<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is no JSON object.
    pub fn parse(document: &'a [u8]) -> Result<MessagesEvent<'a>, Malformed> {
        let mut event = MessagesEvent::default();
        members(document, |key, value| match key {
            b"type" => event.kind = value.text(),
            b"message" => event.message = value.object(),
            b"delta" => event.delta = value.object(),
            b"usage" => event.usage = value.object(),
            _ => {}
        })?;
        Ok(event)
    }

    /// Its kind, by its `type`.
    pub fn kind(&self) -> MessagesEventKind {
        match self.kind.map(|kind| kind.key()).as_deref() {
            Some(b"message_start") => MessagesEventKind::Start,
            Some(b"content_block_start") => MessagesEventKind::Block,
            Some(b"content_block_delta") => MessagesEventKind::BlockDelta,
            Some(b"message_delta") => MessagesEventKind::Delta,
            _ => MessagesEventKind::Other,
        }
    }

    /// It ends a stream.
    pub fn is_last(&self) -> bool {
        self.kind.and_then(|kind| last_event(&kind.key())).is_some()
    }

    /// The message that has begun, as it stands in the document.
    pub fn started(&self) -> Option<&'a [u8]> {
        self.message
    }

    /// The part of the event that is about the message as a whole: its `delta`, with the `usage` beside it.
    ///
    /// # Errors
    /// [`Malformed`] if the delta is not JSON.
    pub fn change(&self) -> Result<AnthropicMessage<'a>, Malformed> {
        let delta = self.delta.map(AnthropicMessage::parse).transpose()?.unwrap_or_default();
        Ok(AnthropicMessage { usage: self.usage, ..delta })
    }

    /// The delta is something that a model has said: text, the input of a tool, or thinking.
    ///
    /// # Errors
    /// [`Malformed`] if the delta is not JSON.
    pub fn is_said(&self) -> Result<bool, Malformed> {
        let (Some(delta), mut said) = (self.delta, false) else { return Ok(false) };
        members(delta, |key, value| {
            if key == b"type" {
                let kind = value.text().map(|kind| kind.key());
                let said_by_models = [&b"text_delta"[..], b"input_json_delta", b"thinking_delta"];
                said = kind.is_some_and(|kind| said_by_models.contains(&&*kind));
            }
        })?;
        Ok(said)
    }
}

impl<'a> AnthropicMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] if `object` is no JSON object.
    pub fn parse(object: &'a [u8]) -> Result<AnthropicMessage<'a>, Malformed> {
        let mut message = AnthropicMessage::default();
        members(object, |key, value| match key {
            b"stop_reason" => message.stop_reason = value.text(),
            b"usage" => message.usage = value.object(),
            _ => {}
        })?;
        Ok(message)
    }

    /// Its usage, if there is one and it is JSON.
    pub fn usage(&self) -> Option<MessagesUsage<'a>> {
        MessagesUsage::parse(self.usage?).ok()
    }
}

impl<'a> MessagesUsage<'a> {
    fn parse(object: &'a [u8]) -> Result<MessagesUsage<'a>, Malformed> {
        let (mut usage, mut own) = (MessagesUsage::default(), SplitMembers::default());
        let (mut details, mut server_tools, mut iterations) = (None, None, None);
        members(object, |key, value| match key {
            b"service_tier" => usage.service_tier = value.text(),
            b"speed" => usage.speed = value.text(),
            b"inference_geo" => usage.inference_geo = value.text(),
            b"output_tokens_details" => details = value.object(),
            b"server_tool_use" => server_tools = value.object(),
            b"iterations" => iterations = value.array(),
            _ if own.take(key, value) => {}
            _ => keep_other(&mut usage.cost.other, &[key], plausible(value)),
        })?;
        let MessagesUsage { cost, implausible, .. } = &mut usage;
        cost.own = own.read(implausible)?;
        details.map_or(Ok(()), |object| cost.details(object))?;
        server_tools.map_or(Ok(()), |object| cost.server_tools(object))?;
        let iterations = iterations.map(|list| Iterations::parse(list, implausible)).transpose()?;
        cost.iterations = iterations.filter(Iterations::is_said);
        Ok(usage)
    }
}

impl MessagesCost {
    fn details(&mut self, object: &[u8]) -> Result<(), Malformed> {
        members(object, |key, value| match key {
            b"thinking_tokens" => self.thinking = plausible(value),
            _ => keep_other(&mut self.other, &[&b"output_tokens_details"[..], key], plausible(value)),
        })
    }

    fn server_tools(&mut self, object: &[u8]) -> Result<(), Malformed> {
        members(object, |key, value| match key {
            b"web_search_requests" => self.web_searches = plausible(value),
            b"web_fetch_requests" => self.web_fetches = plausible(value),
            _ => {}
        })
    }

    /// A later word on the same message: each member that it has replaces the one before. The service counts
    /// on, so nothing is ever added.
    pub fn replace(&mut self, later: MessagesCost) {
        self.own = later.own.or(self.own);
        self.thinking = later.thinking.or(self.thinking);
        self.web_searches = later.web_searches.or(self.web_searches);
        self.web_fetches = later.web_fetches.or(self.web_fetches);
        self.iterations = later.iterations.or(self.iterations.take());
        self.other.extend(later.other);
        bound_other(&mut self.other);
    }

    /// Its numbers as those of other APIs are: the input holds what was read from caches and written to them.
    /// The usage itself leaves out some iterations, such as that of a compaction; the sums over all of them are billed.
    pub fn reported(&self) -> Reported {
        let sums = self.iterations.as_ref().and_then(|iterations| iterations.own).unwrap_or_default();
        let more = self.iterations.as_ref().is_some_and(|iterations| iterations.more);
        let mut reported = Reported {
            input: sums.input().or(self.own.input()),
            output_reasoning: self.thinking,
            other: self.other.clone(),
            input_differs: more,
            output_differs: more,
            ..sums.or(self.own).reported()
        };
        reported.check();
        reported
    }

    /// The runs of other models.
    pub fn tools(&self) -> impl Iterator<Item = ToolCharge> {
        let advisors = self.iterations.iter().flat_map(|iterations| &iterations.advisors);
        let charge = |(model, split): &(Option<String>, CacheSplit)| ToolCharge {
            tool: ToolName::Advisor,
            model: model.clone(),
            usage: split.reported(),
        };
        advisors.map(charge).filter(|tool| tool.usage.usable())
    }

    /// The units that are billed otherwise than by tokens.
    pub fn units(&self) -> BilledUnits {
        BilledUnits {
            web_searches: self.web_searches,
            web_fetches: self.web_fetches,
            ..BilledUnits::default()
        }
    }
}

impl<'a> SplitMembers<'a> {
    /// Takes a member of the object; whether it is one of these.
    fn take(&mut self, key: &[u8], value: Value<'a>) -> bool {
        match key {
            b"input_tokens" => self.uncached = Some(value),
            b"cache_read_input_tokens" => self.read = Some(value),
            b"cache_creation_input_tokens" => self.written = Some(value),
            b"output_tokens" => self.output = Some(value),
            b"cache_creation" => self.written_by_age = value.object(),
            _ => return false,
        }
        true
    }

    fn read(self, implausible: &mut bool) -> Result<CacheSplit, Malformed> {
        let mut number = |value: Option<Value<'_>>| {
            let found = value.and_then(plausible);
            *implausible |= found.is_none() && value.is_some_and(|value| value.number().is_some());
            found
        };
        let mut split = CacheSplit {
            uncached: number(self.uncached),
            read: number(self.read),
            written: number(self.written),
            written_long: None,
            output: number(self.output),
        };
        if let Some(object) = self.written_by_age {
            members(object, |key, value| {
                if key == b"ephemeral_1h_input_tokens" {
                    split.written_long = plausible(value);
                }
            })?;
        }
        Ok(split)
    }
}

impl CacheSplit {
    /// These numbers, and those of another where they lack one.
    fn or(self, other: CacheSplit) -> CacheSplit {
        self.with(other, Option::or)
    }

    fn plus(self, other: CacheSplit) -> CacheSplit {
        let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b)).or(a).or(b);
        self.with(other, sum)
    }

    fn with(self, other: CacheSplit, join: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> CacheSplit {
        CacheSplit {
            uncached: join(self.uncached, other.uncached),
            read: join(self.read, other.read),
            written: join(self.written, other.written),
            written_long: join(self.written_long, other.written_long),
            output: join(self.output, other.output),
        }
    }

    /// All of the prompt.
    fn input(self) -> Option<u64> {
        let parts = [self.uncached, self.read, self.written];
        parts.into_iter().flatten().reduce(u64::saturating_add)
    }

    fn reported(self) -> Reported {
        Reported {
            input: self.input(),
            output: self.output,
            input_cached: self.read,
            input_cache_write: self.written,
            input_cache_write_long: self.written_long,
            ..Reported::default()
        }
    }
}

impl Iterations {
    fn parse(list: &[u8], implausible: &mut bool) -> Result<Iterations, Malformed> {
        let (mut iterations, mut entries, mut inner) = (Iterations::default(), 0, Ok(()));
        elements(list, |value| {
            let Value::Object(object) = value else { return };
            entries += 1;
            if entries < ITERATIONS_MAX {
                inner = inner.and(iterations.entry(object, implausible));
            } else {
                iterations.more = true;
            }
        })?;
        inner.map(|()| iterations)
    }

    fn entry(&mut self, object: &[u8], implausible: &mut bool) -> Result<(), Malformed> {
        let (mut split, mut kind, mut model) = (SplitMembers::default(), None, None);
        members(object, |key, value| match key {
            b"type" => kind = value.text(),
            b"model" => model = value.text(),
            _ => _ = split.take(key, value),
        })?;
        let split = split.read(implausible)?;
        if kind.is_some_and(|kind| &*kind.key() == b"advisor_message") {
            let model = model.map(|model| model.lossy().into_owned());
            self.advisors.push((model.filter(|name| name.len() <= MODEL_BYTES_MAX), split));
        } else {
            self.own = Some(self.own.unwrap_or_default().plus(split));
        }
        Ok(())
    }

    /// There are some.
    fn is_said(&self) -> bool {
        self.own.is_some() || !self.advisors.is_empty()
    }
}

/// A number that can be a count.
fn plausible(value: Value<'_>) -> Option<u64> {
    value.whole().filter(|number| *number <= PLAUSIBLE_MAX)
}

#[cfg(test)]
mod tests;
