//! The settings that bound traffic, and those that touch it.

use std::time::Duration;

use super::choices::{IncludeUsageMode, OnClientDisconnect, OnOddPath, OnUntrusted, Streaming};
use super::resolve::Values;
use super::settings::{
    API_KEY, CALLER_IDLE_TIMEOUT, CONNECT_TIMEOUT, DISCONNECT_DRAIN_BYTES, DISCONNECT_DRAIN_CALLS,
    DISCONNECT_DRAIN_TIMEOUT, HEADER_TIMEOUT, IDLE_TIMEOUT, INCLUDE_USAGE, MAX_CONNECTIONS, MAX_HEADER_BYTES,
    MAX_HEADERS, MAX_IN_FLIGHT, MAX_INSPECT, ON_CLIENT_DISCONNECT, ON_ODD_PATH, ON_UNTRUSTED,
    RESPONSE_TIMEOUT, STREAM_IDLE_TIMEOUT, STREAMING, TCP_KEEPALIVE,
};
use crate::proxy::{DrainBounds, Limits, Policy};

/// The bounds; `None` if one was rejected, which has been told.
pub(super) fn limits(values: &Values) -> Option<Limits> {
    // 0s: no limit.
    let some = |time: Duration| (!time.is_zero()).then_some(time);
    Some(Limits {
        connections: values.get(&MAX_CONNECTIONS)?,
        in_flight: values.get(&MAX_IN_FLIGHT)?,
        header_bytes: values.get(&MAX_HEADER_BYTES)?,
        headers: values.get(&MAX_HEADERS)?,
        header_timeout: values.get(&HEADER_TIMEOUT)?,
        idle_timeout: values.get(&IDLE_TIMEOUT)?,
        caller_idle_timeout: some(values.get(&CALLER_IDLE_TIMEOUT)?),
        connect_timeout: values.get(&CONNECT_TIMEOUT)?,
        response_timeout: some(values.get(&RESPONSE_TIMEOUT)?),
        stream_idle_timeout: some(values.get(&STREAM_IDLE_TIMEOUT)?),
        tcp_keepalive: values.get(&TCP_KEEPALIVE)?,
    })
}

/// The settings that touch traffic; `None` if one was rejected, which has been told.
pub(super) fn policy(values: &Values) -> Option<Policy> {
    let drain = DrainBounds {
        time: values.get(&DISCONNECT_DRAIN_TIMEOUT)?,
        bytes: values.get(&DISCONNECT_DRAIN_BYTES)?,
        calls: values.get(&DISCONNECT_DRAIN_CALLS)?,
    };
    Some(Policy {
        reject_untrusted: values.get(&ON_UNTRUSTED)? == OnUntrusted::Reject,
        reject_odd_path: values.get(&ON_ODD_PATH)? == OnOddPath::Reject,
        api_key: values.get(&API_KEY)?,
        deny_streaming: values.get(&STREAMING)? == Streaming::Deny,
        inject_usage: values.get(&INCLUDE_USAGE)? == IncludeUsageMode::Inject,
        inspect_bytes_max: values.get(&MAX_INSPECT)?,
        drain: (values.get(&ON_CLIENT_DISCONNECT)? == OnClientDisconnect::Drain).then_some(drain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_nothing_is_touched_and_the_limits_are_the_defaults() {
        let values = Values::resolve(|_| None, |_| None, None);
        assert_eq!(limits(&values), Some(Limits::default()));
        assert_eq!(policy(&values), Some(Policy { inspect_bytes_max: 1 << 20, ..Policy::default() }));
    }
}
