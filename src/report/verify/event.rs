//! What of an event proves that nothing is missing.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::usage::{Control, EventType, Outcome, TokenTotals};

/// Larger sequences are no sequences: a thousand calls a second reach 2^62 in a hundred million
/// years.
pub(super) const SEQUENCE_MAX: u64 = 1 << 62;

/// One event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) source: Cow<'a, str>,
    /// The boot whose sequence it carries.
    pub(super) boot: String,
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// One call. A crashed one counts as settled of the boot before.
    Call {
        tokens: TokenTotals,
        crashed: bool,
    },
    /// Calls that could only be summed.
    Sum {
        tokens: TokenTotals,
        calls: u64,
    },
    Control(Box<Control>),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: EventType,
    time: Option<Timestamp>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    sequence: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What of a usage or a summary event matters here. Old and new minor versions both fit.
#[derive(Deserialize)]
struct Counts {
    tokens: Tokens,
    reporter: Reporter,
    stream: Option<Stream>,
    calls: Option<u64>,
}

#[derive(Deserialize)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
}

#[derive(Deserialize)]
struct Reporter {
    instance: String,
}

#[derive(Deserialize)]
struct Stream {
    outcome: Outcome,
}

impl<'a> Event<'a> {
    /// Reads an event as it was stored; `None` if it is none of ours, or not whole.
    pub(super) fn read(body: &'a str) -> Option<Event<'a>> {
        let envelope: Envelope<'a> = serde_json::from_str(body).ok()?;
        let sequence = envelope.sequence.parse().ok().filter(|n| (1..SEQUENCE_MAX).contains(n))?;
        let data = envelope.data.get();
        let (boot, what) = if envelope.kind == EventType::Control {
            (envelope.subject.into_owned(), What::Control(serde_json::from_str(data).ok()?))
        } else {
            let counts: Counts = serde_json::from_str(data).ok()?;
            let what = counts.what(envelope.kind)?;
            (counts.reporter.instance, what)
        };
        let Envelope { id, source, time, .. } = envelope;
        Some(Event { id, source, boot, sequence, time, what })
    }

    /// Stands for (`source`, `id`) where millions of them are compared.
    pub(super) fn id_hash(&self) -> u64 {
        hash(&(&self.source, &self.id))
    }
}

impl Counts {
    fn what(&self, kind: EventType) -> Option<What> {
        let Tokens { input, output } = self.tokens;
        let tokens = TokenTotals { input: input.unwrap_or(0), output: output.unwrap_or(0) };
        if kind == EventType::Summary {
            return Some(What::Sum { tokens, calls: self.calls? });
        }
        let crashed = self.stream.as_ref()?.outcome == Outcome::Crashed;
        Some(What::Call { tokens, crashed })
    }
}

/// 64 bits that stand for a value; the same in every run.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
