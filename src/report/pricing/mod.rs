//! The cost of usage.
//!
//! | file | what it holds |
//! |---|---|
//! | `amount` | money in exact arithmetic |
//! | `billed_parts` | the parts of an event that have prices of their own |
//! | `prices` | the price of each part, by a file |

mod amount;
mod billed_parts;
mod prices;

pub use amount::Amount;
pub use billed_parts::{BilledPart, PriceClass, billed_parts};
pub use prices::{PRICES_HELP, Prices};
pub(super) use prices::{Used, unpriced_text};
