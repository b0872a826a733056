//! The words that events, logs and metrics use: each vocabulary is an enum, and its words stand here and
//! in the schema only. [`Reason`](super::Reason) has a file of its own.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// Who asked the service to report usage in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IncludeUsage {
    /// The caller did.
    Client,
    /// The sidecar did.
    Injected,
    /// It was not asked.
    #[default]
    Absent,
}

/// How asking for usage went (`--include-usage inject`), where it did not go as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Injection {
    /// The service refused it, and the request went to it again as its caller wrote it.
    Refused,
    /// The service was not asked, because it has refused before.
    Remembered,
    /// The caller saw usage that it did not ask for: it could not be taken out of the stream.
    Visible,
}

impl Injection {
    /// The name that stands in events.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One of the two numbers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Side {
    /// The prompt.
    Input,
    /// The response.
    Output,
}

impl Side {
    /// The name that stands in reasons and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where a number comes from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// The service's own `usage`.
    Reported,
    /// The service's rules, applied by us.
    Computed,
    /// There is no number.
    #[default]
    Unknown,
}

impl Source {
    /// The name that stands in events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How far a number can be trusted, from the best to the worst.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Quality {
    /// Reported, or of a class whose rules are proven on recordings.
    Exact,
    /// The truth is this or more.
    LowerBound,
    /// Close; the reasons say why not exact.
    Estimated,
    /// There is no number.
    #[default]
    Unknown,
}

impl Quality {
    /// The name that stands in events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a call ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The whole response went by; of a stream, its end marker where one is known. A session was closed.
    #[default]
    Complete,
    /// The caller left first.
    ClientDisconnect,
    /// There was no response, a broken one, or an error in the stream.
    UpstreamError,
    /// The stream ended cleanly but without its end marker.
    UpstreamEof,
    /// A limit of the sidecar on time ended the call.
    Timeout,
    /// The sidecar was stopped before the call was done.
    Shutdown,
    /// The sidecar died; the numbers are those of the last checkpoint.
    Crashed,
    /// The sidecar refused the call and never sent it to the service.
    Rejected,
    /// The service answered with a status that is no success.
    UpstreamStatus,
}

impl Outcome {
    /// The name that stands in events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The rules that computed a number: numbers of one class are right or wrong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RuleClass {
    /// Text and nothing else.
    Text,
    /// A prompt that offers tools.
    Tools,
    /// A prompt with earlier calls of tools.
    ToolHistory,
    /// A prompt with images, audio or files.
    Media,
    /// A JSON schema is asked for.
    JsonSchema,
    /// A response with one call of a tool.
    Call,
    /// A response with several calls of tools.
    Calls,
    /// A response of several choices.
    Choices,
    /// A response that refuses.
    Refusal,
    /// The output of embeddings, of which there is none.
    Embeddings,
}

impl RuleClass {
    /// The name that stands in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
