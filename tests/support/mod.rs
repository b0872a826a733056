//! The parts that test programs share. Each has `mod support;` and uses its own part.
//!
//! Debug assertions hold in `cargo quick` and in the fuzz targets, not in what ships. Tests on recorded traffic look
//! for it in `TOKENWEIR_SHARED`, else in `../shared`. A test notes what it does not run (`skip`), for libtest would
//! count it as passed in silence: each program lists it under its result, and `tests/zz_skipped.rs`, the last, for the
//! whole run. No test depends on its day: `.ci/ahead 400 cargo test ..` runs them with their clock 400 days ahead.
//! `tests/accuracy` writes the table in `docs/accuracy.md` of how well numbers agree with the bill, and
//! `tests/kafka/run` repeats the delivery tests on a real Kafka. `fuzz/` holds targets for all that reads bytes from
//! outside. `benches/` measure a chunk, a call and, in `e2e`, the whole program beside others; what does not depend on
//! the machine's mood (instructions, allocations, system calls, memory a stream) is held to bounds by tests.
//!
//! - `fake_service`: a service that follows a script, or answers each request
//! - `messages`: Anthropic's Messages as a service sends them
//! - `http`: messages of HTTP/1.1 over plain sockets, as they are on the wire
//! - `websocket`: frames of WebSockets
//! - `sidecar`: a `tokenweir serve` process, and the events that it leaves
//! - `tap`: one call through both taps of `tee`, without HTTP
//! - `ledger`: calls, ledgers, and reading events back
//! - `kafka`: topics and consumers, on a real broker or on the embedded one
//! - `follower`: a topic, and a reader that takes everything from it as it comes
//! - `forwarder`: what stands between a Kafka client and its broker, and makes faults
//! - `recordings`: recorded exchanges with the service's own bill
//! - `canaries`: words that must not be seen again, in every shape of a call
//! - `auditor`: who holds a private key, and reads captured content without any of our code
//! - `certs`, `codings`, `random`: certificates, content codings, random numbers
//! - `wait`, `turn`: waiting for others, and tests that must run alone
//! - `packages`: packages of other languages, and scripts that need them
//! - `skip`: which tests did not run, and why
//! - `files`, `process`: the repository's own files, and what a process holds
//! - `documents`, `schema`: blocks of the documents that code writes; whether an event fits the schema
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]

pub(crate) mod auditor;
pub(crate) mod canaries;
pub(crate) mod certs;
pub(crate) mod codings;
pub(crate) mod documents;
pub(crate) mod fake_service;
pub(crate) mod files;
pub(crate) mod follower;
pub(crate) mod forwarder;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod ledger;
pub(crate) mod messages;
pub(crate) mod packages;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod recordings;
pub(crate) mod schema;
pub(crate) mod sidecar;
pub(crate) mod skip;
pub(crate) mod tap;
pub(crate) mod turn;
pub(crate) mod wait;
pub(crate) mod websocket;

pub(crate) use ledger::{boot_of, call, check_completeness, options, stored, usage};
pub(crate) use wait::{PATIENCE, eventually, wait_for, within};
