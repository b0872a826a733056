//! The cost of usage.
//!
//! | file | what it holds |
//! |---|---|
//! | `amount` | money in exact arithmetic |
//! | `billed_parts` | the parts of an event that have prices of their own |
//! | `currency` | the codes of ISO 4217 |
//! | `decimal` | decimal numbers, read exactly |
//! | `table_file` | the CSV files that finance keeps |
//! | `price_name`, `price_naming` | how bills name a price |
//! | `price_row` | one price, and the calls that it fits |
//! | `price_file` | a file of prices, and what is wrong with it |
//! | `prices` | every price, and the one that counts for a call |
//! | `charges` | what an event costs, part by part |
//! | `unpriced` | what has no price |
//! | `rates` | rates to a second currency |
//! | `rounding` | from exact amounts to amounts that can be paid |
//! | `ptu_file`, `ptu_shares` | fixed costs of deployments, and their shares |
//! | `costing` | all of it together, for a report |
//! | `expand` | the prices as a flat table, for engines |

mod amount;
mod billed_parts;
mod charges;
mod costing;
mod currency;
mod decimal;
mod expand;
mod price_file;
mod price_name;
mod price_naming;
mod price_row;
mod prices;
mod ptu_file;
mod ptu_shares;
mod rates;
mod rounding;
mod table_file;
mod unpriced;

pub use amount::Amount;
pub use billed_parts::{BilledPart, PriceClass, billed_parts};
pub(super) use charges::{Charge, Charges};
pub(super) use costing::{Cost, Costing, EventCost};
pub use costing::{CostFiles, CostSummary, FileVersions};
pub use currency::Currency;
pub(super) use expand::Combinations;
pub use expand::EXPAND_HELP;
pub use price_file::PRICES_HELP;
pub use price_name::PriceName;
pub(super) use price_row::is_special_tier;
pub use prices::Prices;
pub use ptu_file::{PTU_HELP, PtuCosts};
pub(super) use ptu_shares::{Payer, PtuCall, ShareOf};
pub use rates::{RATES_HELP, Rates};
pub use rounding::invoice_lines;
pub use unpriced::{Unpriced, UnpricedModel};
