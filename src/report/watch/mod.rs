//! `top` and `tail`: what is going on now, in a terminal, from a sidecar's admin port, its ledger or the topic.
//!
//! | file | what it holds |
//! |---|---|
//! | `source` | where calls come from |
//! | `told` | what is told of them |
//! | `admin_port`, `ledger_rows`, `topic_messages` | each of these sources |
//! | `tail` | calls as lines |
//! | `top` | callers as a table |

mod admin_port;
mod ledger_rows;
mod source;
mod tail;
mod told;
mod top;
mod topic_messages;

pub use source::WatchSource;
pub use tail::{TailFormat, tail};
pub use top::{TopOptions, top};
