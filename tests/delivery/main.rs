//! From ledger to topic: with a broker that works, one that goes away, and one that says no.
//!
//! With `TOKENWEIR_TEST_BROKERS` the tests that need no fault injection run on that broker, each on
//! a topic of its own; the others, and all of them without it, run on librdkafka's mock cluster.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may"
)]

#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/mod.rs"]
mod support;

mod errors;
mod outage;
mod plain;
mod reports;
mod rig;
