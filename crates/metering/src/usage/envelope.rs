//! CloudEvents 1.0, structured mode: the envelope around every event.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{IntoStaticStr, VariantArray};

/// CloudEvents `specversion`.
pub const SPEC_VERSION: &str = "1.0";

/// CloudEvents `type`; the major version of the schema is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
pub enum EventType {
    /// One call.
    #[serde(rename = "dev.tokenweir.usage.v1")]
    #[strum(serialize = "dev.tokenweir.usage.v1")]
    Usage,
    /// Calls that could only be summed.
    #[serde(rename = "dev.tokenweir.summary.v1")]
    #[strum(serialize = "dev.tokenweir.summary.v1")]
    Summary,
    /// Totals to check the others against.
    #[serde(rename = "dev.tokenweir.control.v1")]
    #[strum(serialize = "dev.tokenweir.control.v1")]
    Control,
}

impl EventType {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The type that an attribute's value names.
    pub fn of(name: &str) -> Option<EventType> {
        EventType::VARIANTS.iter().copied().find(|known| known.as_str() == name)
    }
}

/// One event as it is stored and published: the serialised form of this never changes.
///
/// Consumers drop repeats by (`source`, `id`). Names of extension attributes are lower-case
/// letters and digits (CloudEvents 1.0, "Naming Conventions"). `K` are the types of its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudEvent<T, K = EventType> {
    /// [`SPEC_VERSION`].
    pub specversion: SmolStr,
    /// Unique within `source`.
    pub id: String,
    /// `//tokenweir/<ledger uuid>`.
    pub source: SmolStr,
    /// The type of `data`.
    #[serde(rename = "type")]
    pub kind: K,
    /// When the numbers became final, RFC 3339 in UTC; the roll-up's day is the day of this.
    pub time: Option<String>,
    /// The caller's id; for control events the boot.
    pub subject: SmolStr,
    /// Always `application/json`.
    pub datacontenttype: SmolStr,
    /// The Kafka key.
    pub partitionkey: SmolStr,
    /// Position in the boot's sequence: 20 digits, from 1, without gaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// W3C trace context of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<SmolStr>,
    /// The payload.
    pub data: T,
}

impl<T, K> CloudEvent<T, K> {
    /// An event with every attribute but `sequence` and `traceparent`; `subject` is also the key.
    pub fn new(
        kind: K,
        source: impl Into<SmolStr>,
        id: String,
        time: Option<String>,
        subject: impl Into<SmolStr>,
        data: T,
    ) -> Self {
        let subject = subject.into();
        CloudEvent {
            specversion: SmolStr::new_static(SPEC_VERSION),
            id,
            source: source.into(),
            kind,
            time,
            partitionkey: subject.clone(),
            subject,
            datacontenttype: SmolStr::new_static("application/json"),
            sequence: None,
            traceparent: None,
            data,
        }
    }

    /// Gives the event its place in the boot's sequence.
    #[must_use]
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(format!("{sequence:020}"));
        self
    }
}
