//! How calls are forwarded, as the operator has set it.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;

use super::tls::listen::ListenTls;
use super::tls::upstream::UpstreamTls;
use super::upstream::address::Upstream;

/// How calls are forwarded.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where calls arrive; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS of that port; `None`: plain HTTP.
    pub listen_tls: Option<ListenTls>,
    /// Network threads, at least one.
    pub threads: usize,
    /// Where calls go. With names, the first path segment chooses.
    pub upstreams: Vec<Upstream>,
    /// Needed if an upstream is `https`.
    pub tls: Option<UpstreamTls>,
    /// Fields and parameters that do not reach the upstream.
    pub removals: Removals,
    /// How long streams may go on after [`super::Running::drain`].
    pub drain_timeout: Duration,
    /// Refuse a call that has no place in the ledger; else it goes on and is summed.
    pub reject_when_full: bool,
    /// Bounds of memory and time that clients and upstreams can take.
    pub limits: Limits,
    /// The settings that touch traffic.
    pub policy: Policy,
}

/// Fields and parameters that a request loses before it goes to the upstream: who pays, and the gateway's secrets.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    /// Header fields.
    pub headers: Vec<HeaderName>,
    /// Query parameters, compared after percent-decoding and without regard to case, as gateways and upstreams compare
    /// them. Names that only resemble one (`subscription-key%00`, `subscription-key[]`, or one behind a `;`) stay as they
    /// are: the gateway does not take such a parameter for its key, so a caller that got here has shown its key
    /// elsewhere, and what it writes besides is its own, byte for byte.
    pub query: Vec<String>,
}

/// Bounds of memory and time that clients and upstreams can take. Each is a setting of the same name; there stands
/// why it is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of clients at once, over all threads.
    pub connections: usize,
    /// Calls at once, over all threads.
    pub in_flight: usize,
    /// Request line and header fields of one request, in bytes; and of a response, if it is more than 64 KiB.
    pub header_bytes: usize,
    /// Header fields of one request, and of one response.
    pub headers: usize,
    /// From the first byte of a request's head to its last; TLS handshakes too.
    pub header_timeout: Duration,
    /// How long a connection waits for its next request.
    pub idle_timeout: Duration,
    /// How long a client that is waited for may make no progress. `None`: no limit.
    pub caller_idle_timeout: Option<Duration>,
    /// Name, connection and TLS handshake of an upstream.
    pub connect_timeout: Duration,
    /// From the request's last byte to the head of the response. `None`: no limit.
    pub response_timeout: Option<Duration>,
    /// Silence within a response. `None`: no limit.
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

/// The settings that touch traffic, beyond passing it on. All of it is off unless it is turned on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A hop that fails the test of trust gets 403 instead of being unattributed.
    pub reject_untrusted: bool,
    /// A request whose path can be read in two ways gets 400.
    pub reject_odd_path: bool,
    /// The treatment of API keys.
    pub api_key: ApiKey,
    /// Requests for a stream get 403.
    pub deny_streaming: bool,
    /// Streams that did not ask for usage are made to.
    pub inject_usage: bool,
    /// How much of a request body the two above wait for, in bytes.
    pub inspect_bytes_max: usize,
    /// Streams whose client has gone are read on. `None`: they are ended at the upstream.
    pub drain: Option<DrainBounds>,
}

/// The treatment of a request's API key: `api-key` or `x-api-key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ApiKey {
    /// It goes on to the upstream.
    #[default]
    Pass,
    /// It is removed.
    Strip,
    /// A call that carries one gets 403.
    Deny,
}

/// How far streams are read on whose client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainBounds {
    /// How long one is read on.
    pub time: Duration,
    /// How many bytes of one are read.
    pub bytes: u64,
    /// How many are read on at once.
    pub calls: usize,
}
