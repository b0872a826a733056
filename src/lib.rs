//! tokenweir: a weir measures a stream without stopping it.
#![forbid(unsafe_code)]

pub mod caller;
pub mod chunk;
pub mod ledger;
pub mod meter;
pub mod prompt;
pub mod sse;
pub mod tokens;
pub mod usage;
