//! How an event stands to work that goes on after its call: the work, and whether the event is its bill.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::api::DeferredKind;

/// Names work among that of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeferredId {
    /// Its kind.
    pub kind: DeferredKind,
    /// The id that the service gave it.
    pub id: SmolStr,
}

/// How a call's event stands to the work that the call began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// The work.
    pub work: DeferredId,
    /// The event is the bill; else it announces one.
    pub billed: bool,
}
