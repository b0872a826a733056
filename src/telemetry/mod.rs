//! Metrics and log lines for operators, each declared once.
//!
//! Finance numbers come from the topic, never from here. Labels take values only from closed
//! sets, or from names that a successful response has proven, capped (see `labels`).

mod build_info;
mod comparison;
mod labels;
pub mod live;
pub mod log;
mod metrics;

pub use build_info::BuildInfo;
pub use comparison::Comparison;
pub use metrics::{
    BrokerSnapshot, CaptureSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, Metrics, PerCaller,
    PublishSnapshot, ReloadResult, Snapshot,
};
