//! From ledger to topic: with a broker that works, one that goes away, and one that says no.
//!
//! With `TOKENWEIR_TEST_BROKERS` the tests that need no fault injection run on that broker, each on
//! a topic of its own; the others, and all of them without it, run on librdkafka's mock cluster.

mod errors;
mod outage;
mod plain;
mod reports;
mod unreached;
