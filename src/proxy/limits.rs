//! Bounds of what a caller, or the service, can make us hold and wait for.

use std::time::Duration;

/// Each is a setting of the same name; there stands why it is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of callers at once, over all threads.
    pub connections: usize,
    /// Calls at once, over all threads.
    pub in_flight: usize,
    /// Request line and header fields of one request, in bytes; and of an answer, if it is more than 64 KiB.
    pub header_bytes: usize,
    /// Header fields of one request, and of one answer.
    pub headers: usize,
    /// From the first byte of a request's head to its last; TLS handshakes too.
    pub header_timeout: Duration,
    /// How long a connection waits for its next request.
    pub idle_timeout: Duration,
    /// How long a caller that is waited for may make no progress. `None`: no limit.
    pub caller_idle_timeout: Option<Duration>,
    /// Name, connection and TLS handshake of a service.
    pub connect_timeout: Duration,
    /// From the request's last byte to the head of the answer. `None`: no limit.
    pub response_timeout: Option<Duration>,
    /// Silence within an answer. `None`: no limit.
    pub stream_idle_timeout: Option<Duration>,
    /// Silence after which TCP probes the peer.
    pub tcp_keepalive: Duration,
}

impl Default for Limits {
    /// The settings' defaults.
    fn default() -> Limits {
        Limits {
            connections: 20_000,
            in_flight: 20_000,
            header_bytes: 64 << 10,
            headers: 100,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            caller_idle_timeout: None,
            connect_timeout: Duration::from_secs(10),
            response_timeout: None,
            stream_idle_timeout: None,
            tcp_keepalive: Duration::from_secs(60),
        }
    }
}
