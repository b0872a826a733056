//! What `serve` is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::callers::CallerConfig;
use crate::admin::AdminPage;
use crate::capture::CaptureOptions;
use crate::ledger;
use crate::proxy;
use crate::publish;
use crate::tee::SampleRatio;
use crate::telemetry::PerCaller;
use crate::telemetry::log::LogCalls;

/// The configuration of `serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data path. The identity headers of `removals` are filled in at start.
    pub proxy: proxy::Config,
    /// The admin port.
    pub admin_listen: SocketAddr,
    /// Whether it has the live page.
    pub admin_page: AdminPage,
    /// The ledger.
    pub ledger: ledger::LedgerOptions,
    /// Where events go; `None`: they stay in the ledger.
    pub publish: Option<publish::KafkaConfig>,
    /// How content is captured; `None`: it is not.
    pub capture: Option<CaptureOptions>,
    /// Where captured content goes; `None`: it stays in the spool.
    pub publish_capture: Option<publish::KafkaConfig>,
    /// How callers are told apart.
    pub caller: CallerConfig,
    /// Memory for request bodies that are kept to be counted, in bytes.
    pub prompt_memory_bytes: usize,
    /// Memory for responses that are held to be read as a whole.
    pub answer_memory_bytes: usize,
    /// Of the calls with reported usage, those whose prompt is counted as well.
    pub drift_sample: SampleRatio,
    /// Whose tokens stand in metrics of their own.
    pub metrics_per_caller: PerCaller,
    /// How long events may take to be delivered at the end.
    pub flush_timeout: Duration,
    /// Of the calls, those that have a line in the log.
    pub log_calls: LogCalls,
}
