//! The usage event of a call, from its meter and from what the data path itself knows.

use std::sync::Arc;

use metering::meter::{Checks, Ending};
use metering::usage::{Accounting, BillSeen, Deferral, Reason, Side, Tokens, Usage};

use super::accounts::Accounts;
use super::lifecycle::CallEnd;
use super::meter::CallMeter;
use super::transport::Transport;
use crate::ledger::OpenCall;

/// All that is left of a call when it settles.
pub(super) struct SettledCall<M> {
    pub(super) meter: Option<Box<M>>,
    pub(super) draft: Arc<Usage>,
    pub(super) transport: Transport,
    pub(super) end: CallEnd,
    /// The call's place in the ledger, and its index among the open calls.
    pub(super) opened: Option<OpenCall>,
    pub(super) index: usize,
}

/// The end of a call, in all that its meter knows.
pub(super) struct MeteredEnd {
    pub(super) usage: Usage,
    /// The word of the call on the rules.
    pub(super) checks: Checks,
    /// The work that it began.
    pub(super) deferral: Option<Deferral>,
    /// The bill of another call's work, of which this one asked.
    pub(super) bill: Option<BillSeen>,
}

/// Makes the call's usage.
pub(super) fn metered_end<M: CallMeter>(accounts: &Accounts, call: &mut SettledCall<M>) -> MeteredEnd {
    let ending = call.end.ending;
    let settle = |meter: Box<M>| {
        let (deferral, bill) = (meter.deferral(), meter.bill());
        let (usage, checks) = meter.settle_and_check(ending);
        MeteredEnd { usage, checks, deferral, bill }
    };
    let settled = call.meter.take().and_then(|meter| accounts.guard(|| settle(meter)));
    let mut end = settled.unwrap_or_else(|| MeteredEnd {
        usage: without_meter(&call.draft, ending),
        checks: Checks::default(),
        deferral: None,
        bill: None,
    });
    call.transport.describe(&mut end.usage, call.end.after);
    if call.transport.unsent {
        end.checks = Checks::default(); // its numbers are no rule's
    }
    end
}

/// The usage of a call whose meter failed: no more can be said than that it was, and how it ended.
fn without_meter(draft: &Usage, ending: Ending) -> Usage {
    let mut usage = draft.clone();
    usage.tokens = Tokens::default();
    let Accounting { rules, reasons, .. } = usage.accounting;
    usage.accounting = Accounting { rules, reasons, ..Accounting::default() };
    usage.accounting.add_reason(Side::Input, Reason::MeterPanic);
    usage.accounting.add_reason(Side::Output, Reason::MeterPanic);
    usage.stream.outcome = ending.outcome();
    usage
}
