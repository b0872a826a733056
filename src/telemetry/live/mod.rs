//! What is going on now: sums by caller since the start, the last 15 minutes second by second, and the calls that
//! ended last. The live page and `top` show it, and `tail` the calls.
//!
//! Everything is bounded: callers, seconds, calls. A call costs one lock and a few additions, where its event is
//! logged; a process without a live page has none of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `call` | a call that is over, as it is shown |
//! | `callers` | sums of calls, and of each caller |
//! | `history` | the last 15 minutes |
//! | `recent` | the calls that ended last |
//! | `sums` | all of them together, as functions of the second |
//! | `figures` | the same behind a lock, with a clock |
//! | `view` | what is shown of them at one moment |

mod call;
mod callers;
mod figures;
mod history;
mod recent;
mod sums;
#[cfg(test)]
mod tests;
mod view;

pub use self::call::LiveCall;
pub use self::callers::CallTotals;
pub use self::figures::{FollowGuard, LiveFigures};
pub use self::history::{Gauges, HISTORY_SECONDS, Point};
pub use self::recent::MissedCalls;
pub use self::sums::LiveSums;
pub use self::view::{CallerView, Health, KafkaHealth, LiveView, Points, RecentSums};
