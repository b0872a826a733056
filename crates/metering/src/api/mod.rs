//! The APIs that a service offers: one table says how the calls of each are known, read and billed.
//!
//! Routing, reading, counting and the list in `docs/traffic.md` all come from it. Another module never names an
//! API, it asks [`Api`] one of the questions of `lookup`; `tests/house/surfaces.rs` holds that.
//!
//! | file | idea |
//! |---|---|
//! | `columns` | the values that stand in the columns |
//! | `table` | the rows: the APIs, and the operations by which they are called |
//! | `lookup` | the questions that other modules ask |
//! | `markdown` | the rows as people read them |

mod columns;
mod lookup;
mod markdown;
mod table;

pub use columns::{DeferredKind, Deployment, Treatment};
pub use lookup::{LastEvent, last_event, word};
pub use markdown::markdown;
pub use table::{
    AGENT_ENDPOINT, AGENTS, Api, BodyKind, DEPLOYMENTS, DONE, OPERATIONS, OTHER_SESSION, Operation, PROJECTS,
    RuleSet, SESSIONS, SessionKind, TRANSCRIPTION,
};
