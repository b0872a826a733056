//! Settings: one table, four layers, all errors at once.

mod file;
mod hint;
mod identity;
mod place;
mod resolve;
mod schema;
mod serve;
pub mod settings;
mod shown;
mod tls;
mod traffic;
pub mod value;

pub use place::advice;
pub use resolve::{ConfigError, Origin, Values, unknown_variables};
pub use schema::json_schema;
pub use serve::{end_of_turn, publish_config, serve_config};
