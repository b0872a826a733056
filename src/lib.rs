//! tokenweir: a weir measures a stream without stopping it.
#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod ledger;
pub mod pool;
pub mod proxy;
pub mod publish;
pub mod report;
pub mod serve;
pub mod tee;
pub mod telemetry;
