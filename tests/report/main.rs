//! What is read back from ledgers and topics.
//!
//! - `verify`: truthful events are believed, and every untruth is found for what it is
//! - `topic`: events on a topic: repeats, a beginning that is gone, a million of them, drains that are killed
//! - `truth`: truthful events, from real ledgers

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "../support/mod.rs"]
mod support;
mod topic;
mod truth;
mod verify;

use support::skip;
