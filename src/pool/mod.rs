//! Threads for what is too heavy for the data path.
//!
//! | file | idea |
//! |---|---|
//! | `counting` | threads that count, with bounded queues in an order of their own |
//! | `batcher` | a thread that does small things many at a time |

mod batcher;
mod counting;

pub use self::batcher::Batcher;
pub use self::counting::{BackgroundJob, Full, Lane, Pool, Task};
