//! Captured content, from outside: what passed through `serve` is what somebody with the key reads, and nobody else
//! reads any of it.
//!
//! - `canary`: no word of 30 shapes of requests is anywhere but under the seal
//! - `codings`: any cut of the bytes, under any content coding
//! - `faults`: a spool, a disk, a queue or a memory that is full, a broker that is away, keys that change
//! - `damage`: a spool whose database is damaged while it runs
//! - `delivery`: what a dead instance left
//! - `cut_short`: how a side ended that was cut short
//! - `kills`: `kill -9`, again and again
//! - `instructions`: what a captured chunk takes of a network thread
//! - `reading`: parts that were sealed without a sidecar, opened by `tokenweir open` and by readers of others
//! - `callers`, `calls`: callers of every kind, their service, and what the content must then be
//! - `rig`, `topic`: a sidecar that captures, and the topic that it writes
//!
//! What reads in all but `reading` is `support/auditor.rs`, which shares no code with the sidecar.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod callers;
mod calls;
mod canary;
mod codings;
mod cut_short;
mod damage;
mod delivery;
mod faults;
mod instructions;
mod kills;
mod reading;
mod rig;
#[allow(dead_code)] // what else it can do is for the ledger's tests
#[path = "../serve/shim.rs"]
mod shim;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "a real broker is for `publish`")]
mod topic;

use support::skip;
