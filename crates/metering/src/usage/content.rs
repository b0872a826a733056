//! The events of the capture topic: the parts of captured content, and the totals that prove them complete.
//!
//! A part says in the clear whose call it belongs to and where in it. What was said is sealed, and the same facts stand
//! in the protected header of the seal, so that whoever alters them in the clear is found out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::envelope::CloudEvent;
use super::event::{Reporter, Usage};
use super::vocabulary::Outcome;
use crate::api::Api;
use crate::caller::{Caller, Trust};

/// Version of the data of content events: MAJOR.MINOR, raised by a minor when a member is added.
pub const CONTENT_SCHEMA_VERSION: &str = "1.0";

/// CloudEvents `type` of the capture topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
pub enum ContentType {
    /// One part of one side of a call.
    #[serde(rename = "dev.tokenweir.content.v1")]
    #[strum(serialize = "dev.tokenweir.content.v1")]
    Part,
    /// Totals to check the parts against.
    #[serde(rename = "dev.tokenweir.content_control.v1")]
    #[strum(serialize = "dev.tokenweir.content_control.v1")]
    Control,
}

impl ContentType {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The type that an attribute's value names.
    pub fn of(name: &str) -> Option<ContentType> {
        ContentType::VARIANTS.iter().copied().find(|known| known.as_str() == name)
    }
}

/// A part as it is published; its id is [`part_id`], its key the call.
pub type ContentEvent = CloudEvent<ContentPart, ContentType>;

/// The side of a call that a part belongs to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ContentSide {
    /// As it came from the caller, before any edit.
    Request,
    /// As it went to the caller.
    Response,
}

impl ContentSide {
    /// The word that stands in ids, events and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The usage event that tells what a captured call used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum UsageRecord {
    /// The one with the call's id.
    Event,
    /// The ledger had no place for the call: it is part of a summary.
    Summary,
    /// The call looks at work that another call began: there is one only if it has brought the bill.
    Deferred,
    /// Nothing is billed for such calls, and they have none.
    None,
}

/// The caller, as in the usage event of the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentCaller {
    /// The billing key.
    pub id: SmolStr,
    /// From the caller map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<SmolStr>,
    /// How the hop that named the caller was authenticated.
    pub trust: Trust,
}

/// The target of the call, as far as it was known when the part was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentTarget {
    /// The API, by path.
    pub api: Api,
    /// Name of the upstream, or its host where it has no name.
    pub resource: SmolStr,
    /// The deployment in the path, or the request's `model` where the path has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<SmolStr>,
    /// The model that the path or the request names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<SmolStr>,
    /// The query's `api-version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<SmolStr>,
}

/// The facts that a part states in the clear, and again within its seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFacts {
    /// The id of the call, and of its usage event.
    pub call: SmolStr,
    /// The usage event that belongs to it.
    pub usage: UsageRecord,
    /// The caller.
    pub caller: ContentCaller,
    /// The target of the call.
    pub target: ContentTarget,
    /// The side of the call.
    pub side: ContentSide,
    /// The part's number on that side, from 0, without gaps.
    pub part: u64,
    /// It is the side's last part.
    pub last: bool,
    /// Bytes in it, as they passed.
    pub bytes_raw: u64,
    /// `Content-Type` of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<SmolStr>,
    /// `Content-Encoding` of the message: the bytes are as they passed, in this coding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<SmolStr>,
    /// HTTP status that the caller got; of requests it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The members or events that the sidecar added or took out on the way (`--include-usage inject`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<SmolStr>,
    /// How this side ended, on its last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// On the last part: more passed than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The data of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentPart {
    /// [`CONTENT_SCHEMA_VERSION`] of the writer.
    pub schema_version: SmolStr,
    /// The facts of the part.
    #[serde(flatten)]
    pub facts: PartFacts,
    /// The process that says so.
    pub reporter: Reporter,
    /// The content, sealed to those who may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwe: Option<Jwe>,
    /// Instead of `jwe`, where the operator has allowed it (`--capture-cleartext allow`): the compressed content in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleartext: Option<String>,
}

/// A JSON Web Encryption (RFC 7516, section 7.2): flattened for one recipient, general for several. All members are
/// base64url texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwe {
    /// The protected header: a [`ProtectedHeader`].
    pub protected: String,
    /// The recipients, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<JweRecipient>,
    /// Of the one recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<JweKeyName>,
    /// Of the one recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_key: Option<String>,
    /// Twelve bytes, used once with the data key.
    pub iv: String,
    /// The sealed bytes.
    pub ciphertext: String,
    /// The authentication tag: it shows that neither they nor the protected header were altered.
    pub tag: String,
}

/// The data key, for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JweRecipient {
    /// Whose key it takes.
    pub header: JweKeyName,
    /// The data key, wrapped for that key.
    pub encrypted_key: String,
}

/// The name of a recipient's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JweKeyName {
    /// `kid` of the JWK, or its thumbprint (RFC 7638).
    pub kid: SmolStr,
}

/// The protected header of a part: how it is sealed, and what it says in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedHeader {
    /// The algorithm that wraps the data key: `RSA-OAEP-256`.
    pub alg: SmolStr,
    /// The algorithm that encrypts the content: `A256GCM`.
    pub enc: SmolStr,
    /// The media type of the content: `application/zstd`.
    pub cty: SmolStr,
    /// The part's id.
    pub id: SmolStr,
    /// The facts that the part states in the clear.
    #[serde(flatten)]
    pub facts: PartFacts,
}

/// Totals of the parts since the boot's previous control event, and of the calls since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentControl {
    /// [`CONTENT_SCHEMA_VERSION`] of the writer.
    pub schema_version: SmolStr,
    /// The boot that this speaks of.
    pub instance: SmolStr,
    /// First sequence covered; null where `parts` is 0.
    pub first_sequence: Option<u64>,
    /// Last sequence covered; null where `parts` is 0.
    pub last_sequence: Option<u64>,
    /// Parts covered.
    pub parts: u64,
    /// Bytes in them, as they passed.
    pub bytes: u64,
    /// The [`RowsDigest`](super::RowsDigest) of the parts covered.
    pub digest: String,
    /// Calls since boot whose request ended in each state of [`CaptureState`](super::CaptureState); a state without any
    /// is absent.
    pub requests: BTreeMap<SmolStr, u64>,
    /// As `requests`, of their responses.
    pub responses: BTreeMap<SmolStr, u64>,
    /// Parts since boot that were lost behind the usage event: they could not be sealed or stored.
    pub lost_parts: u64,
    /// Bytes in them, as they passed.
    pub lost_bytes: u64,
    /// Parts that the broker refused for good, since boot.
    pub refused: u64,
    /// Parts could not be stored for a time since the boot's previous control event.
    pub degraded: bool,
    /// The boot's last control event.
    #[serde(rename = "final")]
    pub last: bool,
}

/// The id of a part: made, not drawn, so that a repeat has the same.
pub fn part_id(call: &str, side: ContentSide, part: u64) -> String {
    format!("{call}.{}.{part}", side.as_str())
}

impl ContentCaller {
    /// The caller of a usage event.
    pub fn of(caller: &Caller) -> ContentCaller {
        ContentCaller { id: caller.id.clone(), department: caller.department.clone(), trust: caller.trust }
    }
}

impl ContentTarget {
    /// The target of a usage event, or of its draft.
    pub fn of(usage: &Usage) -> ContentTarget {
        let target = &usage.target;
        ContentTarget {
            api: target.api,
            resource: target.resource.clone(),
            deployment: target.deployment.clone(),
            model: target.model.clone().or_else(|| target.model_requested.clone()),
            api_version: target.api_version.clone(),
        }
    }
}
