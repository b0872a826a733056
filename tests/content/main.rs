//! Captured content is opened by those who have a key: by `tokenweir open`, and by readers that share no code with it.
//!
//! - `rig`: calls whose parts are sealed
//! - `opening`: `tokenweir open`, as somebody runs it
//! - `foreign`: a JOSE library, and OpenSSL's own command

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod foreign;
mod opening;
mod rig;
#[path = "../support/mod.rs"]
mod support;
