//! The data path: one HTTP/1.1 request in, the same request out, the response back, untouched.
//!
//! Each network thread is a runtime of its own with its own listener, its own connections to upstreams and its own
//! running calls; threads share only the accounts. One call is one task: the connection to the gateway polls the
//! response body, which polls the connection to the upstream.
//!
//! *Client* and *upstream* are the two ends of HTTP; the *caller* is who pays.
//!
//! | file | what it does |
//! |---|---|
//! | `server/` | is the connections of clients: accept, TLS, hyper, streams, tunnels, time-outs |
//! | `forward/` | takes one request to its upstream and its response back |
//! | `rewrite/` | is the rewrites of traffic that an operator may ask for |
//! | `upstream/` | is the HTTP/1.1 client that speaks to upstreams |
//! | `tls/` | is TLS on both sides |
//! | `running` | starts the network threads, tells them to stop, and waits for them |
//! | `config` | is the settings |
//! | `shared` | is the parts of the program that the data path uses |
//! | `counts` | counts refusals and failures at the edges |
//! | `fields` | reads header fields that both sides look at |

mod config;
mod counts;
mod fields;
mod forward;
mod rewrite;
mod running;
mod server;
mod shared;
pub mod tls;
pub mod upstream;

pub use self::config::{ApiKey, Config, DrainBounds, Limits, Policy, Removals};
pub use self::counts::{Counts, Limit, TlsPeer};
pub use self::running::{Running, start};
pub use self::shared::{CallerResolver, Shared};
pub use self::tls::listen::ListenTls;
pub use self::tls::upstream::UpstreamTls;
pub use self::upstream::address::{Upstream, UrlError};
