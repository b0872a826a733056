//! Usage as rows of FOCUS, the FinOps Open Cost and Usage Specification: one row for each day of UTC, caller, deployment,
//! model, tier and class of tokens, and two where a price changes within the day.
//!
//! The rows describe cost that Azure's own export has already. Whoever adds both up has it twice: [`DOUBLE_COUNT`].
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what the bill is |
//! | `columns` | the columns, by version |
//! | `sku` | what is sold, and in which units |
//! | `charge` | one charge, taken from a row of a report |
//! | `row` | a charge in the columns of FOCUS |
//! | `text` | ids, names and numbers as FOCUS wants them |
//! | `write` | the rows of a report as CSV |

mod charge;
mod columns;
mod options;
mod row;
mod sku;
mod text;
mod write;

pub(super) use charge::FOCUS_KEYS;
pub(super) use columns::{FocusColumn, FocusColumnKind};
pub use options::{BillingAccount, FocusOptions, FocusVersion};

/// Said wherever such a file is written.
pub const DOUBLE_COUNT: &str = "these rows share out cost that the provider's own cost export has already: take one of the two, or \
    both and leave these out of sums";
