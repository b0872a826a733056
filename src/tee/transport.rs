//! The facts of a call that the data path itself knows, beside its meter: times, sizes and the status.

use std::time::Duration;

use http::StatusCode;
use metering::usage::{Quality, Reason, Side, Source, Tokens, Usage};

/// The status that the client got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum ResponseStatus {
    /// None yet.
    #[default]
    Unknown,
    /// The service's.
    Upstream(StatusCode),
    /// One of our own, since the service gave no response.
    Own(StatusCode),
}

impl ResponseStatus {
    pub(super) fn code(self) -> Option<StatusCode> {
        match self {
            ResponseStatus::Unknown => None,
            ResponseStatus::Upstream(code) | ResponseStatus::Own(code) => Some(code),
        }
    }
}

/// Times, sizes and the status of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transport {
    /// Since the call began.
    pub(super) headers: Option<Duration>,
    pub(super) first_token: Option<Duration>,
    pub(super) status: ResponseStatus,
    /// Not a byte of the request reached the service.
    pub(super) unsent: bool,
    /// Bytes of the request's body, and of the response's as it came.
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl Transport {
    /// Adds what is known here to the call's usage.
    pub(super) fn describe(&self, usage: &mut Usage, duration: Duration) {
        usage.timing.upstream_headers_ms = self.headers.map(millis);
        usage.timing.first_token_ms = self.first_token.map(millis);
        usage.timing.duration_ms = Some(millis(duration));
        match self.status {
            ResponseStatus::Own(code) => usage.request.status = code.as_u16(),
            ResponseStatus::Upstream(code) if usage.request.status == 0 => {
                usage.request.status = code.as_u16();
            }
            ResponseStatus::Upstream(_) | ResponseStatus::Unknown => {}
        }
        if self.unsent {
            not_billed(usage);
        }
    }
}

/// The service has not seen the call: it costs nothing.
fn not_billed(usage: &mut Usage) {
    usage.tokens = Tokens { input: Some(0), output: Some(0), ..Tokens::default() };
    let accounting = &mut usage.accounting;
    (accounting.input_source, accounting.output_source) = (Source::Computed, Source::Computed);
    (accounting.input_quality, accounting.output_quality) = (Quality::Exact, Quality::Exact);
    (accounting.computed_input, accounting.computed_output) = (Some(0), Some(0));
    // Of the numbers nothing else is to be said; of the path it still is.
    accounting.reasons.retain(|reason| Reason::OddPath.is_in(reason));
    accounting.add_reason(Side::Input, Reason::NotBilled);
    accounting.add_reason(Side::Output, Reason::NotBilled);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
