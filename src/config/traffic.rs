//! The settings that bound traffic, and those that touch it.

use std::time::Duration;

use super::Values;
use crate::proxy::{ApiKey, DrainBounds, Limits, Policy};

pub(super) fn limits(values: &Values) -> Limits {
    let some = |time: Duration| (!time.is_zero()).then_some(time);
    Limits {
        connections: values.count("max-connections"),
        in_flight: values.count("max-in-flight"),
        header_bytes: bytes(values, "max-header-bytes"),
        headers: values.count("max-headers"),
        header_timeout: values.time("header-timeout"),
        idle_timeout: values.time("idle-timeout"),
        caller_idle_timeout: some(values.time("caller-idle-timeout")),
        connect_timeout: values.time("connect-timeout"),
        response_timeout: some(values.time("response-timeout")),
        stream_idle_timeout: some(values.time("stream-idle-timeout")),
        tcp_keepalive: values.time("tcp-keepalive"),
    }
}

pub(super) fn policy(values: &Values) -> Policy {
    let says = |name: &str, word: &str| values.text(name) == Some(word);
    Policy {
        reject_untrusted: says("on-untrusted", "reject"),
        reject_odd_path: says("on-odd-path", "reject"),
        api_key: match values.text("api-key") {
            Some("strip") => ApiKey::Strip,
            Some("deny") => ApiKey::Deny,
            _ => ApiKey::Pass,
        },
        deny_streaming: says("streaming", "deny"),
        inject_usage: says("include-usage", "inject"),
        inspect_bytes_max: bytes(values, "max-inspect"),
        drain: says("on-client-disconnect", "drain").then(|| DrainBounds {
            time: values.time("disconnect-drain-timeout"),
            bytes: values.size_bytes("disconnect-drain-bytes"),
            calls: values.count("disconnect-drain-calls"),
        }),
    }
}

fn bytes(values: &Values, name: &str) -> usize {
    usize::try_from(values.size_bytes(name)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_nothing_is_touched_and_the_limits_are_the_defaults() {
        let values = Values::resolve(|_| None, |_| None, None);
        assert_eq!(limits(&values), Limits::default());
        assert_eq!(policy(&values), Policy { inspect_bytes_max: 1 << 20, ..Policy::default() });
    }
}
