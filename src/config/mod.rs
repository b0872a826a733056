//! Settings: one table, four layers, all errors at once.

mod resolve;
mod serve;
pub mod settings;
pub mod value;

pub use resolve::{ConfigError, Origin, Values};
pub use serve::{publish_config, serve_config};
