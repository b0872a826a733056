//! What is read back from ledgers and topics.
//!
//! - `verify`: truthful events are believed, and every untruth is found for what it is
//! - `inputs`: files of any kind, folders, standard input and ledgers; what is left out, and what is not there
//! - `bounds`: inputs that somebody made to fill the memory
//! - `content`: content that is whole is believed, and each way to tamper with it is named
//! - `tampering`: events that somebody has tampered with, in a file, a ledger and a topic, with and without the key
//! - `histories`: ten thousand untouched histories, as ledgers of any version and in any order
//! - `range`: the part of the events that is judged, and the ledgers that are expected
//! - `topic`: events on a topic: repeats, a beginning that is gone, a million of them, drains that are killed
//! - `formats`: the page of HTML in a browser, and Parquet in DuckDB
//! - `prices`: what a month costs, to the last digit
//! - `focus`: rows of FOCUS obey it, and add up to the truth
//! - `close`: the close of a month: its bytes, its sums, what comes later, and what is refused
//! - `truth`: truthful events, from real ledgers
//! - `reconcile`: each gap between our events and Azure's numbers is put on its cause

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod bounds;
mod close;
mod content;
mod focus;
mod formats;
mod histories;
mod inputs;
mod prices;
mod range;
mod reconcile;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
mod topic;
mod truth;
mod verify;

use support::skip;
