//! `tokenweir demo`: the whole path on one machine, with nothing but loopback, and a proof at the
//! end that no call was lost.

mod broker;
mod callers;
mod client;
pub mod fixtures;
mod paced;
mod script;
pub mod service;
mod sidecar;
mod table;
mod tally;
mod traffic;

pub use paced::Pace;
