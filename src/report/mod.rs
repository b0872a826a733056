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
//! | `prices` | what tokens cost |
//! | `topic` | a topic from its beginning to its end |
//! | `render` | a tally as a table, CSV or JSON |
//! | `drain` | publishing what a dead instance left |
//! | `progress` | how far that has come |

mod bills;
mod drain;
mod error;
mod events;
mod input;
mod instant;
mod prices;
mod progress;
mod render;
mod tally;
mod topic;
mod verify;

pub use drain::{DrainOptions, Drained, Draining, drain};
pub use error::ReportError;
pub use events::{EventsOptions, events};
pub use input::Input;
pub use instant::parse_time;
pub use prices::{Amount, PRICES_HELP, Prices};
pub use progress::Progress;
pub use render::Format;
pub use tally::{GroupBy, Report, ReportLine, ReportOptions, ReportSums, report};
pub use verify::{BootLine, BootState, Finding, FindingKind, Verdict, VerdictFormat, VerifyOptions, verify};
