//! What operators see: every metric and every log line, each declared once.
//!
//! Finance numbers come from the topic, never from here. Labels take values only from closed
//! sets, or from names that a successful answer has proven, capped (see [`labels`]).

mod labels;
pub mod log;
mod metrics;

pub use metrics::{LedgerSnapshot, Metrics};
