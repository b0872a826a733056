//! The data path over real sockets: bytes, connections, and every way in which they end.
//!
//! What passes:
//! - `passthrough`: bodies in either direction, in any framing, cut anywhere
//! - `coded_streams`: streams of chat in any coding, any framing, cut anywhere
//! - `request_bodies`: what a request's body says reaches its event
//! - `intermediary`: the rules of an HTTP intermediary (RFC 9110, RFC 9112)
//! - `pipelining`: requests that do not wait for the answers before them
//! - `path_spellings`: one operation in every spelling of its path
//! - `smuggling`: what attackers send to make two readers see two requests
//! - `sessions`: the responses in WebSocket sessions
//! - `websockets`: connections that became WebSockets, and how each session ends
//! - `whole_calls`: large bodies on their way, retries, polls
//! - `thousand_streams`: thousands of open streams in one process
//! - `messages`: Anthropic's Messages, on every way that a call can take
//! - `nginx`: nginx before the proxy and behind it
//!
//! How it ends:
//! - `disconnects`: the caller leaves, the service breaks off, the process stops
//! - `disconnect_drain`: `--on-client-disconnect`
//! - `broken_responses`: the service breaks off at every byte of its answer
//! - `timeouts`: how long the service may keep us waiting
//! - `limits`: limits of the port for calls
//! - `idle_callers`: `--caller-idle-timeout`, callers that neither send nor read
//!
//! Connections:
//! - `upstream_connections`: connections to the service are reused, and never trusted
//! - `upstream_tls`: TLS to the service
//! - `listen_tls`: TLS of the port for calls
//! - `takeover`: streams that wait, which are taken over from hyper
//!
//! What is rewritten:
//! - `include_usage`: `--include-usage inject`
//! - `deny_streaming`: `--streaming deny`
//!
//! And what they share:
//! - `rig`: a proxy between raw sockets
//! - `log_lines`: the log lines of this process

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod broken_responses;
mod coded_streams;
mod deny_streaming;
mod disconnect_drain;
mod disconnects;
mod idle_callers;
mod include_usage;
mod intermediary;
mod limits;
mod listen_tls;
mod log_lines;
mod messages;
mod nginx;
mod passthrough;
mod path_spellings;
mod pipelining;
mod request_bodies;
mod rig;
mod sessions;
mod smuggling;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
mod thousand_streams;
mod timeouts;
mod upstream_connections;
mod upstream_tls;
mod websockets;
mod whole_calls;

use support::{certs, skip};
