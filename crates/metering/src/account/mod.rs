//! `tokenweir account` and `tokenweir count`: the accounting of `serve`, offline.
//!
//! One recorded exchange a line goes in, one line comes out, in order and from that line alone. Each
//! exchange goes through the meter twice: as `serve` would have seen it, for the event, and by a
//! meter that is blind to `usage`, for what would have been computed without.
//!
//! | file | idea |
//! |---|---|
//! | `run` | lines in, lines out |
//! | `line` | a line of the input, checked |
//! | `exchange` | a recorded exchange goes through a meter |
//! | `output` | the lines that come out |
//! | `explain` | an account in words |
//! | `count` | `tokenweir count` |

mod count;
mod exchange;
mod explain;
mod line;
mod output;
mod run;

pub use count::{CountError, UnknownModel, count};
pub use line::{EXCHANGE_EXAMPLE, EXCHANGE_SCHEMA};
pub use run::{Explain, Options, RunSummary, run};
