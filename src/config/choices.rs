//! Settings that take one of a few words: a variant for each word. The words by which the data path, the counter or
//! the log chooses are declared there; here they are only said to be settings.

use strum::{IntoStaticStr, VariantArray, VariantNames};

use super::kind::OneOf;
use crate::admin::AdminPage;
use crate::proxy::ApiKey;
use crate::telemetry::PerCaller;
use crate::telemetry::log::{LogCalls, LogFormat, LogLevel};
use metering::caller::UserIds;

/// A ledger on a file system of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum NetworkFs {
    /// Refused.
    Refuse,
    /// Allowed.
    Allow,
}

/// The fate of a call that the ledger has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OnLedgerFailure {
    /// It is forwarded and summed.
    Forward,
    /// It gets 503.
    Reject,
}

/// The sides of calls whose content is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum CaptureMode {
    /// Neither.
    Off,
    /// Requests, as they come from callers.
    Request,
    /// Responses, as they go to callers.
    Response,
    /// Both.
    Both,
}

/// Captured content that is sealed to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum CaptureCleartext {
    /// Refused.
    Refuse,
    /// Allowed.
    Allow,
}

/// The fate of a call whose record has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OnCaptureFailure {
    /// It is forwarded, and its record is cut or lost.
    Forward,
    /// It gets 503.
    Reject,
}

/// How the publisher logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum KafkaAuth {
    /// Not at all.
    None,
    /// With a connection string, or a user name and a password.
    Sasl,
    /// With tokens of Entra ID.
    Entra,
}

/// How the hop that names the caller proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum CallerTrust {
    /// Not at all.
    None,
    /// By a secret in a header.
    SharedSecret,
    /// By its certificate.
    Mtls,
    /// By its address.
    Network,
}

/// The fate of a call whose hop fails that test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OnUntrusted {
    /// It is forwarded as unattributed.
    Unattributed,
    /// It gets 403.
    Reject,
}

/// Streams that do not ask for usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum IncludeUsageMode {
    /// They are left alone.
    Observe,
    /// They are made to ask for it.
    Inject,
}

/// The fate of a call at the service when its client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OnClientDisconnect {
    /// It is ended.
    Abort,
    /// It is read on, within bounds.
    Drain,
}

/// Requests for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Streaming {
    /// They are forwarded.
    Allow,
    /// They get 403.
    Deny,
}

/// The fate of a request whose path can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OnOddPath {
    /// It is forwarded as it is.
    Forward,
    /// It gets 400.
    Reject,
}

/// Whether the service bills the token that ends a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum EndOfTurn {
    /// The host of the service decides.
    Auto,
    /// It does not.
    #[strum(serialize = "0")]
    Free,
    /// It does.
    #[strum(serialize = "1")]
    Billed,
}

impl OneOf for AdminPage {}
impl OneOf for ApiKey {}
impl OneOf for CallerTrust {}
impl OneOf for CaptureCleartext {}
impl OneOf for CaptureMode {}
impl OneOf for EndOfTurn {}
impl OneOf for IncludeUsageMode {}
impl OneOf for KafkaAuth {}
impl OneOf for LogCalls {}
impl OneOf for LogFormat {}
impl OneOf for LogLevel {}
impl OneOf for NetworkFs {}
impl OneOf for OnCaptureFailure {}
impl OneOf for OnClientDisconnect {}
impl OneOf for OnLedgerFailure {}
impl OneOf for OnOddPath {}
impl OneOf for OnUntrusted {}
impl OneOf for PerCaller {}
impl OneOf for Streaming {}
impl OneOf for UserIds {}
