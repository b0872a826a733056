//! One call's accounting: the bytes of an exchange go in, a usage event comes out.
//!
//! Nothing in here waits, opens a socket or a database, or asks for the time: whoever calls says what there is
//! to see and when it was seen. So the fuzz targets depend on this package alone, without Kafka and OpenSSL.
//! A module imports those below it only; `tests/house/layers.rs` holds that.
#![forbid(unsafe_code)]

pub mod account;
pub mod caller;
pub mod chunk;
pub mod frames;
pub mod meter;
pub mod names;
pub mod prompt;
pub mod reload;
pub mod sse;
pub mod tokens;
pub mod usage;
