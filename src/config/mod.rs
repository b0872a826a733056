//! Settings: one table, four layers, all errors at once.

mod identity;
mod resolve;
mod serve;
pub mod settings;
mod traffic;
pub mod value;

pub use resolve::{ConfigError, Origin, Values};
pub use serve::{end_of_turn, publish_config, serve_config};
