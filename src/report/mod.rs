//! The programs behind `events`, `report`, `verify` and `drain`: they show people what a ledger or a topic
//! holds.
//!
//! | file | what it holds |
//! |---|---|
//! | `error` | why a program failed |
//! | `instant` | instants as people give them |
//! | `input` | where events come from, as often as one likes |
//! | `events` | stored events as JSON lines |
//! | `bills` | bills that more than one ledger has seen |
//! | `verify` | the proof that nothing is missing |
//! | `tally` | events added up by keys |
//! | `usage_event` | an event that counts |
//! | `group_by` | the keys that it is added up by |
//! | `columns` | the columns of numbers, and their sums |
//! | `pricing` | the cost of it |
//! | `render` | a tally as a table, CSV or JSON |
//! | `drain` | publishing what a dead instance left |
//! | `progress` | how far that has come |

mod bills;
mod columns;
mod drain;
mod error;
mod events;
mod group_by;
mod input;
mod instant;
mod pricing;
mod progress;
mod render;
mod tally;
mod usage_event;
mod verify;

pub use columns::ReportSums;
pub use drain::{DrainOptions, Drained, Draining, drain};
pub use error::ReportError;
pub use events::{EventsOptions, events};
pub use group_by::GroupBy;
pub use input::Input;
pub use instant::parse_time;
pub use pricing::{Amount, BilledPart, PRICES_HELP, PriceClass, Prices, billed_parts};
pub use progress::Progress;
pub use render::Format;
pub use tally::{Report, ReportLine, ReportOptions, report};
pub use verify::{BootLine, BootState, Finding, FindingKind, Verdict, VerdictFormat, VerifyOptions, verify};
