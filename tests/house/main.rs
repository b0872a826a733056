//! The rules of this house, kept by tests.
//!
//! - `documents`: the documents say what the code says
//! - `layers`: modules import only what is below them, and no file imports one that imports it
//! - `trunk`: the files of one streamed call, in order, are those that ARCHITECTURE.md lists
//! - `words`: a word of a vocabulary stands in one table only
//! - `mutations`: promises that are broken on purpose, each with the test that must notice
//! - `surfaces`: one table names the APIs
//! - `features`: the program is built from the same dependencies in tests

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod documents;
mod features;
mod layers;
mod mutations;
#[path = "../support/mod.rs"]
mod support;
mod surfaces;
mod trunk;
mod words;

use support::skip;
