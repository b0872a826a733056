//! tokenweir: a weir measures a stream without stopping it.
#![forbid(unsafe_code)]

pub mod caller;
pub mod demo;
pub mod ledger;
pub mod meter;
pub mod telemetry;
pub mod tokens;
pub mod usage;
