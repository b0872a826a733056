//! Reading an event of the capture topic.

use metering::usage::{CloudEvent, ContentControl, ContentEvent, ContentPart, ContentType};
use serde::Deserialize;
use smol_str::SmolStr;

use crate::report::boot_names::NAME_BYTES_MAX;

/// Larger numbers are no sequence.
const SEQUENCE_MAX: u64 = 1 << 62;

/// An event of the capture topic.
pub(super) enum AnyContent {
    Part(Box<ContentEvent>),
    Control(Box<CloudEvent<ContentControl, ContentType>>),
}

/// The member that tells which it is.
#[derive(Deserialize)]
struct TypeOnly {
    #[serde(rename = "type")]
    name: SmolStr,
}

impl AnyContent {
    /// Reads an event; `None` if it is none of the capture topic, or not whole.
    pub(super) fn read(body: &str) -> Option<AnyContent> {
        let named: TypeOnly = serde_json::from_str(body).ok()?;
        let event = match ContentType::of(&named.name)? {
            ContentType::Part => AnyContent::Part(serde_json::from_str(body).ok()?),
            ContentType::Control => AnyContent::Control(serde_json::from_str(body).ok()?),
        };
        event.has_own_names().then_some(event)
    }

    /// The source, the boot and the sequence in it.
    pub(super) fn place(&self) -> Option<(&str, &str, u64)> {
        let (source, boot, sequence) = match self {
            AnyContent::Part(event) => (&event.source, &event.data.reporter.instance, &event.sequence),
            AnyContent::Control(event) => (&event.source, &event.subject, &event.sequence),
        };
        let sequence: u64 = sequence.as_ref()?.parse().ok()?;
        (1..SEQUENCE_MAX).contains(&sequence).then_some((source, boot, sequence))
    }

    /// No longer name than a sidecar writes is kept.
    fn has_own_names(&self) -> bool {
        let own = |name: &str| name.len() <= NAME_BYTES_MAX;
        let of_part = |part: &ContentPart| own(&part.facts.call);
        let places = self.place().is_some_and(|(source, boot, _)| own(source) && own(boot));
        places
            && match self {
                AnyContent::Part(event) => own(&event.id) && of_part(&event.data),
                AnyContent::Control(event) => own(&event.data.instance),
            }
    }
}
