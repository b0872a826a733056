//! The rules of this house, kept by tests.
//!
//! - `documents`: the documents say what the code says
//! - `layers`: modules import only what is below them
//! - `mutations`: promises that are broken on purpose, each with the test that must notice

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod documents;
mod layers;
mod mutations;
#[path = "../support/mod.rs"]
mod support;

use support::skip;
