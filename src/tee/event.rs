//! The usage event of a call, from its meter and from what the data path itself knows.

use std::sync::Arc;

use metering::meter::{Checks, Ending};
use metering::usage::{Accounting, Outcome, Reason, Side, Tokens, Usage};

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

/// The call's usage, and what it says of the rules.
pub(super) fn usage<M: CallMeter>(accounts: &Accounts, call: &mut SettledCall<M>) -> (Usage, Checks) {
    let ending = call.end.ending;
    let settled = call.meter.take().and_then(|meter| accounts.guard(|| meter.settle_and_check(ending)));
    let (mut usage, mut checks) =
        settled.unwrap_or_else(|| (without_meter(&call.draft, ending), Checks::default()));
    call.transport.describe(&mut usage, call.end.after);
    if call.transport.unsent {
        checks = Checks::default(); // its numbers are no rule's
    }
    (usage, checks)
}

/// The usage of a call whose meter failed: no more can be said than that it was, and how it ended.
fn without_meter(draft: &Usage, ending: Ending) -> Usage {
    let mut usage = draft.clone();
    usage.tokens = Tokens::default();
    let Accounting { rules, reasons, .. } = usage.accounting;
    usage.accounting = Accounting { rules, reasons, ..Accounting::default() };
    usage.accounting.add_reason(Side::Input, Reason::MeterPanic);
    usage.accounting.add_reason(Side::Output, Reason::MeterPanic);
    usage.stream.outcome = match ending {
        Ending::Eof => Outcome::Complete,
        Ending::ClientDisconnect => Outcome::ClientDisconnect,
        Ending::UpstreamError => Outcome::UpstreamError,
        Ending::Timeout => Outcome::Timeout,
        Ending::Shutdown => Outcome::Shutdown,
        Ending::Rejected => Outcome::Rejected,
    };
    usage
}
