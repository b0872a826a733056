//! `tokenweir account` and `tokenweir count`: the accounting of `serve`, offline.
//!
//! One recorded exchange a line goes in, one line comes out, in order and from that line alone. Each
//! exchange goes through two meters: as `serve` would have seen it, for the event, and by a
//! meter that is blind to `usage`, for what would have been computed without.
//!
//! | file | idea |
//! |---|---|
//! | `run` | lines in, lines out |
//! | `line` | a line of the input, checked |
//! | `member`, `frame`, `operation` | its parts: a member, a frame of a session, a target |
//! | `exchange` | a recorded call goes through its meters |
//! | `session` | a recorded session does |
//! | `accounted` | what the meters say |
//! | `output` | the lines that come out |
//! | `explain` | an account in words |
//! | `count` | `tokenweir count` |

mod accounted;
mod count;
mod exchange;
mod explain;
mod frame;
mod line;
mod member;
mod operation;
mod output;
mod run;
mod session;

pub use count::{CountError, UnknownModel, count};
pub use line::{EXCHANGE_EXAMPLE, EXCHANGE_SCHEMA, api_names};
pub use run::{Explain, Options, RunSummary, run};
