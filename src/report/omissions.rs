//! Counts what a report leaves out, by reason, with the places of the first of each.

use std::io;

use metering::usage::EventFault;
use serde_json::{Map, Value};
use strum::{IntoStaticStr, VariantArray};

use super::event_origin::EventOrigin;

/// Places that are named for each reason.
const EXAMPLES_MAX: usize = 3;

/// Why something that lies in an input is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OmissionReason {
    /// A line or message that is not UTF-8.
    NotText,
    /// A line that is longer than any event.
    LineTooLong,
    /// A message without a body.
    NoBody,
    /// It is no JSON.
    NotJson,
    /// It is no event of tokenweir.
    NotOurs,
    /// An event of a version that is not known.
    UnknownType,
    /// An outcome that is not known.
    UnknownOutcome,
    /// A quality that is not known.
    UnknownQuality,
    /// A number that cannot be counted.
    WrongNumber,
    /// An id that is no UUID.
    WrongId,
    /// An event without a time.
    NoTime,
    /// An event that lacks a member.
    NotWhole,
    /// Another event has the same number, or the same id, and was there first.
    OtherBody,
    /// The rest of a file that is cut or damaged.
    Damaged,
    /// A file or folder that cannot be read.
    Unreadable,
    /// A file of a kind that is not read.
    UnknownFormat,
}

impl OmissionReason {
    /// The word that stands in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Says for people what is left out for this reason; it stands after a number.
    fn sentence(self) -> &'static str {
        match self {
            OmissionReason::NotText => "not UTF-8",
            OmissionReason::LineTooLong => "a line longer than any event",
            OmissionReason::NoBody => "without a body",
            OmissionReason::NotJson => "not JSON",
            OmissionReason::NotOurs => "not an event of tokenweir",
            OmissionReason::UnknownType => "an event type that this version does not know",
            OmissionReason::UnknownOutcome => "an outcome that this version does not know",
            OmissionReason::UnknownQuality => "a quality that this version does not know",
            OmissionReason::WrongNumber => "a number that is a fraction, negative, or too large",
            OmissionReason::WrongId => "an id that is no UUID",
            OmissionReason::NoTime => "no time",
            OmissionReason::NotWhole => "not a whole event",
            OmissionReason::OtherBody => "another body under the number of an event that was there first",
            OmissionReason::Damaged => "the rest of a file that is cut or damaged",
            OmissionReason::Unreadable => "cannot be read",
            OmissionReason::UnknownFormat => "a file of a kind that is not read",
        }
    }

    /// It stands for more than one line or message: nobody knows how many.
    pub(super) fn hides_more(self) -> bool {
        matches!(self, OmissionReason::Damaged | OmissionReason::Unreadable | OmissionReason::UnknownFormat)
    }

    /// A file ended a read: the system says so, or the bytes make no sense.
    pub(super) fn of_read(error: &io::Error) -> OmissionReason {
        match error.raw_os_error() {
            Some(_) => OmissionReason::Unreadable,
            None => OmissionReason::Damaged,
        }
    }
}

impl From<EventFault> for OmissionReason {
    fn from(fault: EventFault) -> OmissionReason {
        match fault {
            EventFault::NotJson => OmissionReason::NotJson,
            EventFault::NotOurs => OmissionReason::NotOurs,
            EventFault::UnknownType => OmissionReason::UnknownType,
            EventFault::UnknownOutcome => OmissionReason::UnknownOutcome,
            EventFault::UnknownQuality => OmissionReason::UnknownQuality,
            EventFault::WrongNumber => OmissionReason::WrongNumber,
            EventFault::NoTime => OmissionReason::NoTime,
            EventFault::NotWhole => OmissionReason::NotWhole,
        }
    }
}

/// The number of what was left out for one reason, and its first places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Omitted {
    count: u64,
    examples: Vec<String>,
}

/// Everything that was left out, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    by_reason: [Omitted; OmissionReason::VARIANTS.len()],
}

impl Omissions {
    /// Counts one, and names its place if it is one of the first.
    pub(super) fn add(&mut self, reason: OmissionReason, origin: EventOrigin<'_>) {
        let omitted = &mut self.by_reason[reason as usize];
        omitted.count += 1;
        if omitted.examples.len() < EXAMPLES_MAX {
            omitted.examples.push(origin.to_string());
        }
    }

    /// Nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How much was left out: lines, messages, and files.
    pub fn count(&self) -> u64 {
        self.by_reason.iter().map(|omitted| omitted.count).sum()
    }

    /// How much was left out for one reason.
    pub fn of(&self, reason: OmissionReason) -> u64 {
        self.by_reason[reason as usize].count
    }

    /// Something was left out that may hold any number of events.
    pub(super) fn hides_more(&self) -> bool {
        self.reasons().any(|(reason, _)| reason.hides_more())
    }

    fn reasons(&self) -> impl Iterator<Item = (OmissionReason, &Omitted)> {
        let all = OmissionReason::VARIANTS.iter().copied().zip(&self.by_reason);
        all.filter(|(_, omitted)| omitted.count > 0)
    }

    /// A line for each reason, with the places of the first.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.reasons().map(|(reason, Omitted { count, examples })| {
            let more = if *count > examples.len() as u64 { ", .." } else { "" };
            format!("left out: {count} ({}): {}{more}", reason.sentence(), examples.join(", "))
        })
    }

    /// The same as JSON: for each reason its number and the places of the first.
    pub(super) fn json(&self) -> Value {
        let members = self.reasons().map(|(reason, omitted)| {
            let value = serde_json::json!({"count": omitted.count, "examples": omitted.examples});
            (reason.as_str().to_owned(), value)
        });
        Value::Object(members.collect::<Map<String, Value>>())
    }
}
