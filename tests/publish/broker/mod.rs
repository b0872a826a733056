//! Faults of the broker and of the way to it, at the publisher's door: ledger and publisher of this
//! process, a broker, and a forwarder between them.
//!
//! What all of them hold against: every stored event arrives, once after repeats are dropped by
//! source and id, and no id has two bodies. Each prints its figures.
//!
//! - `away`: refusing, frozen, a black hole, at start and under load
//! - `errors`: requests to produce that the broker refuses, in random bursts; throttling
//! - `cuts`: connections that break while an answer is on its way
//! - `slow`: more events than the way takes, and the rest caught up
//! - `real`: what only a real broker shows: stopped processes, lost state
//!
//! On librdkafka's embedded broker, or on the one that `TOKENWEIR_TEST_BROKERS` names
//! (`tests/kafka/run`), where the test does not need what only one of them can.
//! `TOKENWEIR_LONG=1`: 20 s for each outage, and minutes in all.

mod away;
mod cuts;
mod errors;
mod real;
mod rig;
mod slow;
