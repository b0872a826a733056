//! A part as it lies in an input.

use std::borrow::Cow;

use jiff::Timestamp;
use metering::usage::{ContentEvent, ContentPart, ContentType, EventType};
use serde::Deserialize;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::report::began_at::began_at;
use crate::report::omissions::OmissionReason;

/// Types of events of tokenweir begin so.
const OURS: &str = "dev.tokenweir.";

/// A part, with what its event says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredPart {
    pub(super) id: String,
    pub(super) source: SmolStr,
    pub(super) sealed_at: Option<Timestamp>,
    pub(super) part: ContentPart,
    /// Bytes of its event, which is about the memory that it takes.
    pub(super) bytes: usize,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

impl StoredPart {
    /// The part in an event; `None` if it is another one of ours.
    pub(super) fn read(text: &str) -> Result<Option<StoredPart>, OmissionReason> {
        let kind: Kind<'_> = serde_json::from_str(text).map_err(|error| match error.is_data() {
            true => OmissionReason::NotOurs,
            false => OmissionReason::NotJson,
        })?;
        let kind = kind.kind.unwrap_or_default();
        match ContentType::of(&kind) {
            Some(ContentType::Part) => {}
            Some(ContentType::Control) => return Ok(None),
            None if EventType::of(&kind).is_some() => return Ok(None),
            None if kind.starts_with(OURS) => return Err(OmissionReason::UnknownType),
            None => return Err(OmissionReason::NotOurs),
        }
        let event: ContentEvent = serde_json::from_str(text).map_err(|_| OmissionReason::NotWhole)?;
        Ok(Some(StoredPart {
            id: event.id,
            source: event.source,
            sealed_at: event.time.and_then(|time| time.parse().ok()),
            part: event.data,
            bytes: text.len(),
        }))
    }

    /// When its call began, which its id says: so all parts of a call are of one time. Of an id
    /// that says nothing, when the part was sealed.
    pub(super) fn call_time(&self) -> Option<Timestamp> {
        Uuid::parse_str(&self.part.facts.call).ok().and_then(began_at).or(self.sealed_at)
    }
}
