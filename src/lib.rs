//! tokenweir: a weir measures a stream without stopping it.
#![forbid(unsafe_code)]

pub mod caller;
pub mod ledger;
pub mod meter;
pub mod publish;
pub mod report;
pub mod tokens;
pub mod usage;
