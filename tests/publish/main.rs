//! From ledger to topic: what arrives, whatever the broker, the way to it and the login do.
//!
//! - `delivery`: a broker that works, one that goes away, and one that says no
//! - `broker`: faults of the broker and of the way to it, under load
//! - `content`: captured content, read back by somebody else
//! - `credentials`: tokens of Entra ID, and secrets that change while the process runs
//! - `rig`: a broker with an empty topic, a reader of it, and a ledger to publish from
//!
//! `broker` looks at the memory and at the time of this process: its tests run alone, the others beside each
//! other (`support/turn.rs`).

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod broker;
mod content;
mod credentials;
mod delivery;
mod rig;
#[path = "../support/mod.rs"]
mod support;

use support::{certs, skip};
