//! The usage event: the record that finance charges by.
//!
//! This is the only module that knows the event's JSON. Names and meaning are fixed by
//! `schema_version`: fields are only ever added. In every field `null` or absence means *not
//! known* and `0` means *known to be none*; durations are whole milliseconds; there are no floats.
//!
//! Parts are subsets of their totals and never added to them: `input_cached` is within `input`,
//! `output_reasoning` is within `output`.
//!
//! | file | what it holds |
//! |---|---|
//! | `event` | the data of a usage event: who called what, and what it used |
//! | `tokens` | the numbers to charge by |
//! | `vocabulary` | the words of events: outcomes, sources, qualities, and others |
//! | `reason` | the words that say why a number is not exact |
//! | `deferral` | how an event stands to work that goes on after its call |
//! | `deferred` | work that goes on after its call, and whose bill follows |
//! | `capture` | what became of the content of a call, as its usage event says it |
//! | `content` | the events of the capture topic |
//! | `control` | the data of control events and summaries |
//! | `digest` | digests of rows, which add up in any order |
//! | `seal` | the seals of a control event |
//! | `envelope` | CloudEvents 1.0, around the data of any event |
//! | `stored` | reading an event again, as it was stored or published |
//! | `fault` | why a text is no event that can be read |
//! | `rendering` | an event that was rendered anew, in the writer's own form |
//! | `schema`, `content_schema` | the JSON Schemas of all of it |
//! | `schema_check` | how the tests hold types and schemas together |

mod capture;
mod content;
mod content_schema;
mod control;
mod deferral;
mod deferred;
mod digest;
mod envelope;
mod event;
mod fault;
mod reason;
mod rendering;
mod schema;
#[cfg(test)]
mod schema_check;
mod seal;
mod stored;
mod tokens;
mod vocabulary;

pub use crate::api::{Api, DeferredKind};
pub use capture::{Capture, CaptureState};
pub use content::{
    CONTENT_SCHEMA_VERSION, ContentCaller, ContentControl, ContentEvent, ContentPart, ContentSide,
    ContentTarget, ContentType, Jwe, JweKeyName, JweRecipient, PartFacts, ProtectedHeader, UsageRecord,
    part_id,
};
pub use content_schema::CONTENT_SCHEMA;
pub use control::{Control, Summary, SummaryPeriod};
pub use deferral::{Deferral, DeferredId};
pub use deferred::{Beginner, BillSeen};
pub use digest::{ControlKey, RowHash, RowsDigest};
pub use envelope::{CloudEvent, EventType, SPEC_VERSION};
pub use event::{
    Accounting, Ids, Progress, Reporter, Request, SCHEMA_VERSION, Settled, Stream, Target, Timing, Usage,
};
pub use fault::EventFault;
pub use reason::Reason;
pub use rendering::as_written;
pub use schema::SCHEMA;
pub use seal::SealState;
pub use stored::{
    StoredAccounting, StoredCaller, StoredData, StoredEvent, StoredRequest, StoredTarget, StoredTiming,
    StoredUsage,
};
pub use tokens::{TokenClass, TokenTotals, Tokens, ToolTokens, Unit, Units};
pub use vocabulary::{IncludeUsage, Injection, Outcome, Quality, RuleClass, Side, Source};
