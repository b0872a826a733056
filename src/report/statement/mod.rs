//! A statement of usage for people: what it says, and the page of HTML that says it.
//!
//! The page stands alone: no script, no font, no picture is fetched, and its policy forbids all of them. Names are
//! hostile text, which is escaped and shown with nothing hidden.
//!
//! | file | what it holds |
//! |---|---|
//! | `data` | what a statement says |
//! | `span` | the time that it covers, in words |
//! | `completeness` | whether it is of all that there was, and the proof |
//! | `share` | shares of a whole, in whole numbers |
//! | `chart` | bars for each day, as SVG |
//! | `quality` | how much of the tokens is known how well |
//! | `tables` | usage by keys |
//! | `page` | the page |

mod chart;
mod completeness;
mod data;
mod page;
mod quality;
mod share;
mod span;
mod tables;
#[cfg(test)]
mod tests;

pub use data::{Statement, StatementCompleteness, StatementTable};
