//! Metrics and log lines for operators, each declared once.
//!
//! Finance numbers come from the topic, never from here. Labels take values only from closed
//! sets, or from names that a successful answer has proven, capped (see `labels`).

mod labels;
pub mod log;
mod metrics;

pub use metrics::{
    BrokerSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, Metrics, PerCaller, PublishSnapshot,
    Snapshot,
};

/// A number that the service reported, held against the computed one.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The upstream.
    pub resource: &'a str,
    /// The deployment.
    pub deployment: &'a str,
    /// The model that the answer named.
    pub model: &'a str,
    /// Which rules computed it.
    pub class: &'a str,
    /// Reported minus computed.
    pub residual_tokens: i64,
    /// With this call the class began (true) or ceased (false) to be billed otherwise than the rules say.
    pub turned: Option<bool>,
    /// Calls among the last ones of the class whose two numbers differ.
    pub wrong_calls: usize,
}
