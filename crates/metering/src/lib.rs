//! One call's accounting: the bytes of an exchange go in, a usage event comes out.
//!
//! Nothing in here waits, opens a socket or a database, or asks for the time: whoever calls says what there is
//! to see and when it was seen. So the fuzz targets depend on this package alone, without Kafka and OpenSSL.
//! A module imports those below it only; `tests/house/layers.rs` holds that.
//!
//! [`meter::Meter`] is where to begin: it is shown a request and its response, and settles into a [`usage::Usage`].
#![forbid(unsafe_code)]

// Recorded exchanges, recomputed offline: the program behind `tokenweir account` and `tokenweir count`.
pub mod account;

// The table of APIs: how the calls of each are known, read, counted and billed.
pub mod api;

// Who pays for a call: identity, from headers that the gateway sets and from what the connection proves.
pub mod caller;

// The shapes of requests and responses on the wire: the parts that matter for counting.
pub mod chunk;

// WebSocket frames, and the messages in them.
pub mod frames;

// One call's accounting: what was seen of the call, and what it costs.
pub mod meter;

// Texts that others chose, as people may be shown them.
pub mod names;

// The service's own rules for what a request costs, one file or folder for each API.
pub mod prompt;

// A value that was made from files, made again when the files change.
pub mod reload;

// The meaning of the messages of a WebSocket session: which responses it has, when each begins and ends.
pub mod session;

// Server-sent events: bytes in, events out, the same events for any split of the bytes.
pub mod sse;

// Counts the tokens of a text that arrives in pieces, exactly as tiktoken counts the whole.
pub mod tokens;

// The usage event that finance charges by: its names, units and JSON.
pub mod usage;
