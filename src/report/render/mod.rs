//! A report as a table, CSV, JSON, Parquet, or a page of HTML.
//!
//! Keys are names that others chose. None can be taken for the total, or for the label of what is missing: a name
//! that would read like one has `'` in front.
//!
//! | file | what it holds |
//! |---|---|
//! | `format` | the formats, and what is written of a report |
//! | `fields` | the columns of a report and its cells, before they are text |
//! | `text_table` | aligned columns that fit a terminal |
//! | `table` | a report as such a table |
//! | `csv` | a report as CSV |
//! | `json` | a report as JSON |
//! | `parquet` | a report as Parquet |

mod csv;
mod fields;
mod format;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod table;
#[cfg(test)]
mod tests;
pub(super) mod text_table;

pub use format::{Format, Rendering};
pub(crate) use text_table::{CellKind, Importance, TextColumn, TextTable};
