//! The news of work that goes on after its call, as the rest of the program brings it to the ledger.

use metering::usage::{Beginner, BillSeen, Deferral, DeferredId, Settled};
use smol_str::SmolStr;

/// The bill of work that another call began, as a look at the work has shown it: an event, if no other was stored
/// before. The ledger's writer decides that.
#[derive(Clone, Debug)]
pub struct Bill {
    /// The event, should it be the first of this work. `usage.target.resource` says where the work is done; who
    /// pays is the caller of the call that began it, where this ledger knows that call.
    pub settled: Settled,
    /// The work, and how its bill was seen.
    pub seen: BillSeen,
}

/// A bill on its way through the writer.
#[derive(Debug)]
pub(super) struct BillInHand {
    pub(super) bill: Bill,
    /// The event that was stored of it, by the transaction that it was last in; `None`: it was no news.
    pub(super) stored: Option<Box<Settled>>,
}

/// The work of a call that has no event of its own, since it is in a sum.
#[derive(Clone, Debug)]
pub(super) struct DeferredNote {
    pub(super) resource: SmolStr,
    pub(super) work: DeferredId,
    pub(super) beginner: Beginner,
    pub(super) billed: bool,
}

impl DeferredNote {
    pub(super) fn of(settled: &Settled, deferral: &Deferral) -> DeferredNote {
        DeferredNote {
            resource: settled.usage.target.resource.clone(),
            work: deferral.work.clone(),
            beginner: Beginner::of(&settled.usage),
            billed: deferral.billed,
        }
    }
}
