//! The only door through which usage becomes durable.
//!
//! The ledger is an outbox in SQLite: calls that are open, and events that are final. One thread
//! (`tw-ledger`) writes, one transaction for everything that came in during 4 ms, and no call waits
//! for it: a call reserves its place in a bounded queue before it begins, so telling the ledger that
//! it opened and what it used can neither block nor fail.
//!
//! No transaction waits for the disk either. A committed row is *stored*: it survives the death of the process.
//! A second thread (`tw-sync`) makes it *synced* behind the writer, every 10 ms: it survives a loss of power, and only
//! then it is published, so no event on a topic is ever unknown to its ledger.
//!
//! | file | what it holds |
//! |---|---|
//! | `handle` | what the process holds: the ledger, a reserved place, a call that is open |
//! | `options`, `stats`, `error` | how a ledger behaves, its counters, what can be wrong with it |
//! | `op` | the news that goes through the queue, and the account of it that comes back |
//! | `queue`, `queue_state` | the bounded way from any thread to the writer, and the counters |
//! | `batch` | operations turned into the rows of one transaction |
//! | `quota` | how the room that a ledger may take is split |
//! | `ballast` | room kept for the moment when there is none |
//! | `log` | positions, sequences, totals: the one row that every transaction rewrites |
//! | `store` | the database: opening it, and what each transaction writes |
//! | `sql` | numbers as SQLite has them |
//! | `schema` | the tables, their versions, and the way from each to the next |
//! | `integrity` | whether a database is a whole ledger, as far as that can be known at once |
//! | `quarantine` | a database that cannot be used is moved out of the way |
//! | `writer` | the thread: what is written when, and the way out of the failing state |
//! | `syncer` | the thread that makes durable what is stored, and the mark that follows |
//! | `copier` | a connection that copies the WAL into the database beside the writer |
//! | `copy_plan` | when the WAL is copied, and how long the writer waits for that |
//! | `begin` | opening the database at the start, and recovering |
//! | `storage` | the database, what became of a transaction, and how much room is left |
//! | `failing` | the state in which nothing can be stored: when to try again |
//! | `status_log` | the log lines of that state |
//! | `retain` | when delivered events go |
//! | `recover` | calls that a dead process left become events |
//! | `bill`, `deferred` | work that goes on after its call: who began it, and whether its bill is stored |
//! | `append_deferred` | whether a bill is news, decided where its event is stored |
//! | `sums` | calls that could not be stored one by one |
//! | `reader` | stored events, for any process |
//! | `own_reader` | stored events, for the process that writes them |
//! | `faults` | errors that a test asks for |
//! | `lock` | the directory, the one process that owns it, and whether it had to sum calls |
//! | `filesystem` | the file systems on which a ledger may lie |
//! | `examine` | the place of a ledger, tried without leaving anything there |

mod append_deferred;
mod ballast;
mod batch;
mod begin;
mod bill;
mod copier;
mod copy_plan;
mod deferred;
mod error;
mod examine;
mod failing;
#[cfg(test)]
mod faults;
mod filesystem;
mod handle;
mod integrity;
mod lock;
mod log;
mod op;
mod options;
mod own_reader;
mod quarantine;
mod queue;
mod queue_state;
mod quota;
mod reader;
mod recover;
mod retain;
mod schema;
mod sql;
mod stats;
mod status_log;
mod storage;
mod store;
mod sums;
mod syncer;
mod writer;

#[cfg(test)]
mod tests;

pub use ballast::BALLAST;
pub use bill::Bill;
pub use error::{CloseError, OpenError, StoreError};
pub use examine::{Examined, examine, library_version};
pub use filesystem::{check as check_place, in_memory};
pub use handle::{Ledger, OpenCall, Slot};
pub(crate) use lock::{DirLock, open_private, sync_dir};
pub use options::{DATABASE, LedgerOptions};
pub use own_reader::OwnReader;
pub(crate) use quarantine::{latest, move_aside, move_orphan, moved_aside, wal_of};
pub use reader::{EventRow, LedgerReader, ReadError, RefusedRow};
pub(crate) use sql::{sql, unsigned};
pub use stats::LedgerStats;
