//! tokenweir: a weir measures a stream without stopping it.
#![forbid(unsafe_code)]

pub mod account;
pub mod admin;
pub mod caller;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod demo;
pub mod frames;
pub mod ledger;
pub mod meter;
pub mod names;
pub mod pool;
pub mod prompt;
pub mod proxy;
pub mod publish;
pub mod report;
pub mod serve;
pub mod sse;
pub mod tee;
pub mod telemetry;
pub mod tokens;
pub mod usage;
