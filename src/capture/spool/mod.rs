//! The outbox of captured content: sealed parts that are stored and not yet delivered.
//!
//! It is an SQLite database of its own with a quota of its own, so the money's ledger has neither its bytes nor its
//! syncs. One thread writes, a transaction for everything that came in a quarter of a second, and a commit waits for
//! the disk: what is stored is durable. Delivered rows go at once. Nothing here can read what it stores.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | how a spool behaves, and the name of its database |
//! | `error` | why one could not be opened |
//! | `part` | a part that is sealed and not yet stored |
//! | `log` | positions, sequences, totals: the one row that every transaction rewrites |
//! | `schema` | the tables, and whether a database is a whole spool |
//! | `store` | the database: opening it, and what each transaction writes |
//! | `marks` | how far it is stored and delivered: shared with the publisher |
//! | `open` | opening one at the start: its directory, damage, and the boot that died |
//! | `damage` | a database that turns out to be damaged, and giving it up |
//! | `writer` | what waits to be stored, and what is lost where it cannot be |
//! | `word` | the log lines of a spool that is full or fails |
//! | `source` | the spool as an outbox of the publisher |

mod damage;
#[cfg(test)]
mod damage_tests;
mod error;
mod log;
mod marks;
mod open;
mod options;
mod part;
mod schema;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod word;
mod writer;

pub use error::SpoolError;
pub use options::{CAPTURE_DATABASE, SpoolOptions};
pub use source::SpoolSource;

pub(super) use part::SealedPart;
pub(super) use store::ControlKind;
pub(super) use writer::SpoolWriter;
