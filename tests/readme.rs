//! The README's tables are the ones that the code prints.
//!
//! `TOKENWEIR_UPDATE=1 cargo test --release --test readme` writes them anew.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/readme.rs"]
mod readme;

use readme::check;
use tokenweir::config::settings;
use tokenweir::telemetry::Metrics;

#[test]
fn the_tables_are_the_codes_own() {
    check("settings", &settings::markdown());
    check("metrics", &Metrics::new().unwrap().markdown());
}
