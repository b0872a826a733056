//! Bodies that show each frame to a meter and pass it on, and the one place where a call settles.
//!
//! The data path never waits for accounting. A frame is looked at inline, for a bounded number of
//! bytes; the rest goes, in order, to the counting pool. A call settles exactly once: when its
//! response has ended, failed or been dropped. A thread of its own settles calls, a few milliseconds of
//! them at a time; if the pool still holds some of the call, the pool settles it.
//!
//! | file | idea |
//! |---|---|
//! | `body` | the two bodies that show frames to a call |
//! | `call`, `context` | one call, as the data path sees it; what stays the same for it |
//! | `pool_work` | what the counting pool does for a call |
//! | `state` | what is behind the call's lock, and each change of it; its parts: |
//! | `lifecycle`, `client`, `transport` | how far the call has come; what its client did; times, sizes, status |
//! | `response`, `meter_location`, `turn` | bytes that are counted, skimmed or wait; where the meter is; how much at once |
//! | `prompt`, `early_count`, `prompt_sample` | the request's body, and the three reasons to count it |
//! | `checkpoint`, `event` | what a call says of itself before its end, and at it |
//! | `running_calls` | the calls that run, and the sweep that checkpoints them |
//! | `accounts`, `observer`, `counters`, `streams` | what all calls share |
//! | `budget`, `pinned_bytes` | memory that calls hold: bounded for all, and measured |
//! | `drift`, `models`, `sample_ratio` | whether the rules hold; which model a deployment has; which calls are sampled |
//! | `meter` | what a call asks of its meter |
//! | `capture_report` | what became of a call's content, for its event |
//! | `session` | a WebSocket session, and the calls of its responses |
//! | `response_ids` | responses that two connections are told of |

mod accounts;
mod body;
mod budget;
mod call;
mod capture_report;
mod checkpoint;
mod client;
mod context;
mod counters;
mod drift;
mod early_count;
mod event;
mod lifecycle;
mod meter;
mod meter_location;
mod metered_prompt;
mod metered_response;
mod models;
mod observer;
mod pinned_bytes;
mod pool_work;
mod prompt_body;
mod prompt_sample;
mod response_ids;
mod running_calls;
mod sample_ratio;
mod session;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod transport;
mod turn;

pub use self::accounts::{Accounts, ResponseBounds};
pub use self::body::{BodyError, RequestTap, ResponseTap};
pub use self::budget::{BudgetShare, MemoryBudget};
pub use self::call::{Begin, Call, CallGuard};
pub use self::capture_report::CaptureReport;
pub use self::counters::Counters;
pub use self::drift::{Compared, NumberKind};
pub use self::observer::{Observer, OverheadPhase};
pub use self::pinned_bytes::{PinnedBytes, REQUEST_READ_BYTES_MAX, RESPONSE_READ_BYTES_MAX};
pub use self::running_calls::RunningCalls;
pub use self::sample_ratio::SampleRatio;
pub use self::session::{ObservedSession, SessionBegin};
pub use self::streams::StreamsByDeployment;
pub use metering::meter::Left;
