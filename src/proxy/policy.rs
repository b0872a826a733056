//! What is done to traffic beyond passing it on: all of it is off unless somebody turns it on.

use std::time::Duration;

/// The settings that touch traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A hop that fails the test of trust gets 403 instead of being unattributed.
    pub reject_untrusted: bool,
    /// A request whose path can be read in two ways gets 400.
    pub reject_odd_path: bool,
    /// What becomes of `api-key`.
    pub api_key: ApiKey,
    /// Requests for a stream get 403.
    pub deny_streaming: bool,
    /// Streams that did not ask for usage are made to.
    pub inject_usage: bool,
    /// How much of a request body the two above wait for, in bytes.
    pub inspect_bytes_max: usize,
    /// Abandoned streams are read on. `None`: they are ended at the service.
    pub drain: Option<DrainBounds>,
}

/// What becomes of a request's `api-key` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiKey {
    /// It goes on to the service.
    #[default]
    Pass,
    /// It is removed.
    Strip,
    /// A call that carries one gets 403.
    Deny,
}

/// How far streams are read on whose caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainBounds {
    /// How long one is.
    pub time: Duration,
    /// How much of one is.
    pub bytes: u64,
    /// How many at once are.
    pub calls: usize,
}
