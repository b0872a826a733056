//! One connection of a client, from request to request: the proxy's own files for the socket, for how a response is
//! taken over from hyper and for how it is sent, around them hyper itself, and scripts at both ends.
//!
//! The files are included by their paths because the program's package cannot be depended on: OpenSSL and librdkafka
//! would be built for the targets.

#[allow(dead_code)] // one of the two is for requests
#[path = "../../src/proxy/fields.rs"]
mod fields;
mod forward;
mod server;

pub use self::server::{Got, Outcome, Reply, Script, run};
