//! The programs behind `events`, `report`, `verify`, `open`, `drain`, `top` and `tail`: they show people what a ledger or a
//! topic holds.
//!
//! | file | what it holds |
//! |---|---|
//! | `error` | why a program failed |
//! | `calendar` | days, weeks, months and hours of a time zone |
//! | `instant` | instants as people give them where no time zone is named |
//! | `began_at` | when a call began, by its id |
//! | `input` | where events come from, as often as one likes |
//! | `event_origin` | where an event lies, to name it |
//! | `events` | stored events as JSON lines |
//! | `bills` | bills that more than one ledger has seen |
//! | `verify` | the proof that nothing is missing |
//! | `reconcile` | our events held against Azure's own numbers |
//! | `tally` | events added up by keys |
//! | `seen` | which events were there before |
//! | `boot_names` | the boots of ledgers that events name |
//! | `numbers` | the sequence numbers of a boot, with fingerprints |
//! | `omissions` | what is left out, by reason |
//! | `coverage` | whether the range is wholly there |
//! | `completeness` | what of all that is said |
//! | `usage_event` | an event that counts |
//! | `key_value` | the values of keys, and why there is none |
//! | `group_by` | the keys that it is added up by |
//! | `columns` | the columns of numbers |
//! | `sums` | the sums of a row |
//! | `shares` | what an event adds to rows, as a whole and by class |
//! | `rows` | adding up by some keys |
//! | `pricing` | the cost of it |
//! | `price_expansion` | prices as a flat table, for engines |
//! | `money_text` | amounts of money for people |
//! | `render` | a report as a table, CSV, JSON, Parquet or HTML |
//! | `statement` | what a page of HTML says, and the page |
//! | `focus` | a report as rows of FOCUS |
//! | `close` | the close of a month |
//! | `terminal` | the terminal that standard output is |
//! | `content` | captured content, opened for those who may read it |
//! | `drain` | publishing what a dead instance left |
//! | `progress` | how far that has come |
//! | `watch` | what goes on now |

mod began_at;
mod bills;
mod boot_names;
mod calendar;
mod close;
mod columns;
mod completeness;
mod content;
mod coverage;
mod drain;
mod error;
mod event_origin;
mod events;
mod focus;
mod group_by;
mod input;
mod instant;
mod key_value;
mod money_text;
mod numbers;
mod omissions;
mod price_expansion;
mod pricing;
mod progress;
mod reconcile;
mod render;
mod rows;
mod seen;
mod shares;
mod statement;
mod sums;
mod tally;
mod terminal;
mod usage_event;
mod verify;
mod watch;

pub use calendar::Calendar;
pub use close::{CloseMonth, CloseOptions, CloseOutcome, CloseResult, close};
pub use columns::columns_markdown;
pub use completeness::{Completeness, Lack, LackReason};
pub use content::{ContentFilter, ContentFormat, ContentOptions, ContentOutput, OpenedContent, open_content};
pub use drain::{DrainOptions, Drained, DrainedSpool, Draining, SpoolToDrain, drain};
pub use error::{InputBound, ReportError};
pub use events::{EventsOptions, events};
pub use focus::{BillingAccount, DOUBLE_COUNT, FocusOptions, FocusVersion};
pub use group_by::GroupBy;
pub use input::Input;
pub use instant::parse_time;
pub use key_value::{KeyValue, MissingKey};
pub use omissions::{OmissionReason, Omissions};
pub use price_expansion::expand_prices;
pub use pricing::{
    Amount, BilledPart, CostFiles, CostSummary, Currency, EXPAND_HELP, FileVersions, PRICES_HELP, PTU_HELP,
    PriceClass, PriceName, Prices, PtuCosts, RATES_HELP, Rates, Unpriced, UnpricedModel, billed_parts,
    invoice_lines,
};
pub use progress::DrainProgress;
pub use reconcile::{
    Basis, Cause, Explained, METERS_HELP, Measure, Meters, OneSided, Quantity, ReconcileOptions,
    ReconciledLine, ReconciledSums, Reconciliation, ReconciliationFormat, ResourceNames, Tolerance,
    UnmatchedMeter, reconcile,
};
pub(crate) use render::{CellKind, Importance, TextColumn, TextTable};
pub use render::{Format, Rendering};
pub use rows::{ReportLine, ReportView};
pub use statement::{Statement, StatementCompleteness, StatementTable};
pub use sums::ReportSums;
pub use tally::{Report, ReportOptions, report};
pub use terminal::{terminal_columns, terminal_rows};
pub use verify::{
    BootLine, BootState, ContentFinding, ContentFindingKind, ContentInputs, ContentVerdict, Finding,
    FindingKind, Verdict, VerdictFormat, VerifyOptions, verify, verify_with_content,
};
pub use watch::{TailFormat, TopOptions, WatchSource, tail, top};
