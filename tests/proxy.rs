//! The data path over real sockets: bytes, connections, and every way in which they end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // helpers of a test may stop it and speak

#[path = "proxy/bodies.rs"]
mod bodies;
#[path = "support/certs.rs"]
mod certs;
#[path = "proxy/chance.rs"]
mod chance;
#[path = "proxy/cuts.rs"]
mod cuts;
#[path = "proxy/denied.rs"]
mod denied;
#[path = "proxy/door.rs"]
mod door;
#[path = "proxy/drained.rs"]
mod drained;
#[path = "proxy/ends.rs"]
mod ends;
#[path = "proxy/identity.rs"]
mod identity;
#[path = "proxy/injected.rs"]
mod injected;
#[path = "proxy/limits.rs"]
mod limits;
#[path = "proxy/lines.rs"]
mod lines;
#[path = "proxy/lives.rs"]
mod lives;
#[path = "proxy/many.rs"]
mod many;
#[path = "proxy/nginx.rs"]
mod nginx;
#[path = "proxy/pipelined.rs"]
mod pipelined;
#[path = "proxy/pooling.rs"]
mod pooling;
#[path = "proxy/rig.rs"]
mod rig;
#[path = "proxy/rules.rs"]
mod rules;
#[path = "proxy/secure.rs"]
mod secure;
#[path = "support/skip.rs"]
mod skip;
#[path = "proxy/smuggling.rs"]
mod smuggling;
#[path = "proxy/spelled.rs"]
mod spelled;
#[path = "proxy/stalled.rs"]
mod stalled;
#[path = "proxy/streams.rs"]
mod streams;
#[path = "proxy/taken.rs"]
mod taken;
#[path = "proxy/tunnels.rs"]
mod tunnels;
#[path = "proxy/waits.rs"]
mod waits;
