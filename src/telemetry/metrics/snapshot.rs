//! Numbers that the rest of the process counts itself, read at each scrape.

use serde::{Deserialize, Serialize};

/// Every number, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The ledger's.
    pub ledger: LedgerSnapshot,
    /// The data path's.
    pub data_path: DataPathSnapshot,
    /// The publisher's.
    pub publish: PublishSnapshot,
    /// Those of the ports towards callers and services.
    pub edges: EdgesSnapshot,
    /// Those of captured content; `None`: none is captured.
    pub capture: Option<CaptureSnapshot>,
}

/// Counts that the ledger keeps, since start where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// Calls.
    pub accepted: u64,
    /// Of these: with an event.
    pub settled: u64,
    /// Of these: only in a sum.
    pub summed: u64,
    /// Of these: running.
    pub open: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that the broker has confirmed.
    pub delivered: u64,
    /// Events that the broker refused for good.
    pub refused: u64,
    /// Events in the ledger that are not durable yet.
    pub unsynced: u64,
    /// Events in the ledger that are not delivered yet.
    pub undelivered: u64,
    /// Seconds since the first of these was stored; 0 if there is none.
    pub oldest_undelivered_s: u64,
    /// Bytes of the ledger's database and WAL.
    pub bytes: u64,
    /// Bytes that the ledger may take.
    pub bytes_max: u64,
    /// Events that were stored and are lost.
    pub lost: u64,
    /// Damaged databases that lay beside the ledger when it was opened.
    pub moved_aside: u64,
    /// Calls are summed, or were since the last control event.
    pub degraded: bool,
}

/// Counts that the data path keeps, since start where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataPathSnapshot {
    /// Calls whose response outran the counting threads.
    pub overload: u64,
    /// Panics caught in accounting.
    pub panics: u64,
    /// Request bodies kept now to be counted.
    pub prompt_memory_bytes: u64,
    /// Responses that are read on now although their callers have left.
    pub drains_running: u64,
    /// Those that were read to their end.
    pub drains_finished: u64,
    /// Those that a bound cut.
    pub drains_cut: u64,
    /// Requests that were sent again without being made to ask for usage.
    pub usage_refused: u64,
    /// Calls whose prompt was not kept.
    pub prompts_not_kept: u64,
    /// Bytes of responses that wait now for the counting threads.
    pub backlog_bytes: u64,
    /// Bytes of responses that are held now to be read as a whole.
    pub answer_memory_bytes: u64,
    /// Responses that are passing now, by deployment.
    pub answers: Vec<(String, u64)>,
    /// Bytes of request bodies, of calls that ended.
    pub request_bytes: u64,
    /// Bytes of responses, of calls that ended.
    pub answer_bytes: u64,
    /// Requests refused because the ledger had no place.
    pub not_accepted: u64,
}

/// Counts that the publisher keeps, since start where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishSnapshot {
    /// Times that the Kafka client was replaced.
    pub replaced: u64,
    /// Events sent again after an error.
    pub resent: u64,
    /// Events sent and not acknowledged yet.
    pub in_flight: u64,
    /// Nothing has got through since the last error.
    pub backing_off: bool,
    /// Errors by what they call for.
    pub errors: Vec<(&'static str, u64)>,
    /// Requests for a token that brought none.
    pub token_failures: u64,
    /// A broker answers; `None` where nothing is published.
    pub reachable: Option<bool>,
    /// The brokers that the client knows.
    pub brokers: Vec<BrokerSnapshot>,
}

/// Counts of captured content, since start where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaptureSnapshot {
    /// Calls by side and by what was kept of it.
    pub calls: Vec<(&'static str, &'static str, u64)>,
    /// Parts stored.
    pub parts: u64,
    /// Bytes in them, as they passed.
    pub bytes: u64,
    /// Parts lost behind their usage events.
    pub lost_parts: u64,
    /// Parts that the broker refused for good.
    pub refused: u64,
    /// Bytes of the spool's database.
    pub spool_bytes: u64,
    /// Damaged databases that lay beside the spool when it was opened.
    pub moved_aside: u64,
    /// Events in the spool that are not delivered yet.
    pub undelivered: u64,
    /// Memory that content holds now.
    pub memory_bytes: u64,
    /// Parts cannot be stored now.
    pub degraded: bool,
    /// Errors of its publisher, by what they call for.
    pub errors: Vec<(&'static str, u64)>,
}

/// One broker, as the Kafka client last saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSnapshot {
    /// Its number in the cluster.
    pub id: i32,
    /// There is a connection that works.
    pub up: bool,
    /// 99 of 100 round trips took no longer, in seconds; none if there was none.
    pub round_trip_s: Option<f64>,
}

/// Counts of the ports, since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgesSnapshot {
    /// Calls that cannot be charged to a caller, by the reason.
    pub unattributed: Vec<(&'static str, u64)>,
    /// How often each limit was met.
    pub limits: Vec<(&'static str, u64)>,
    /// TLS connections that failed, by side and cause.
    pub tls_failures: Vec<(&'static str, &'static str, u64)>,
    /// When the certificates of a setting end to hold, in seconds since 1970.
    pub certificates: Vec<(&'static str, i64)>,
    /// Requests whose path can be read in two ways, by what became of them.
    pub odd_paths: Vec<(&'static str, u64)>,
    /// Calls and sessions that were refused because there would be no record of their content.
    pub unrecorded: Vec<(&'static str, u64)>,
    /// Deployments whose streams are not asked for usage now, since they refused.
    pub unasked: Vec<(String, u64)>,
}
