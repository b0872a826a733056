//! Settings: one table, four layers, all errors at once.
//!
//! | file | what it holds |
//! |---|---|
//! | `settings` | the table, and a typed constant for each row |
//! | `setting` | a setting: its names, kind, default and type |
//! | `kind` | the kinds of values, and how a text becomes one |
//! | `choices` | the words of settings that take one of a few |
//! | `value` | durations, sizes and shares as texts |
//! | `file` | the configuration file |
//! | `resolve` | flag over environment over file over default, and every error |
//! | `hint` | the value that was probably meant |
//! | `shown` | the part of a refused value that an error may repeat |
//! | `serve`, `traffic`, `identity`, `kafka`, `tls`, `capture` | from settings to what the programs take |
//! | `placeholder` | hosts of examples that were never filled in |
//! | `place` | whether a ledger can lie in its directory |
//! | `schema` | the JSON Schema of the file |

mod capture;
mod choices;
mod file;
mod hint;
mod identity;
mod kafka;
mod kind;
mod place;
mod placeholder;
mod resolve;
mod schema;
mod serve;
mod setting;
pub mod settings;
mod shown;
mod tls;
mod traffic;
pub mod value;

pub use capture::capture_topic;
pub use kafka::publish_config;
pub use place::{advice, network_fs};
pub use resolve::{CONFIG_VARIABLE, ConfigError, Origin, SettingTexts, Values, unknown_variables};
pub use schema::json_schema;
pub use serve::{control_key, end_of_turn, serve_config};
