//! Every Prometheus metric, declared once. Units last in the names; base units.
//!
//! The usage of a call is counted here when the call ends; counts that others keep are read at each scrape
//! (`followed`).
//!
//! | file | what it holds |
//! |---|---|
//! | `registry` | every metric, in the order of the documents |
//! | `calls` | calls that have settled |
//! | `gaps` | calls and fields that accounting could not see |
//! | `per_caller` | tokens by caller or department |
//! | `reloads` | files that are read again |
//! | `followed`, `snapshot` | counts that others keep |
//! | `declare` | how a metric is made and remembered |
//! | `edges` | the buckets of histograms |

mod calls;
mod declare;
mod edges;
mod followed;
mod gaps;
mod per_caller;
mod registry;
mod reloads;
mod snapshot;

pub use self::per_caller::PerCaller;
pub use self::registry::Metrics;
pub use self::reloads::ReloadResult;
pub use self::snapshot::{
    BrokerSnapshot, CaptureSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, PublishSnapshot,
    Snapshot,
};
