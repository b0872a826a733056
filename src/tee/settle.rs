//! The end of a call: its usage event, from the meter and from what the data path itself knows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::Accounts;
use super::call::{Facts, Seat, State};
use crate::ledger::OpenCall;
use metering::meter::{Checks, Ending};
use metering::usage::{Accounting, Outcome, Quality, Reason, Settled, Side, Source, Tokens, Usage};

/// A call's last word.
pub(super) struct Final {
    pub(super) usage: Usage,
    /// What it says of the rules.
    pub(super) checks: Checks,
    /// The meter panicked over it.
    pub(super) panicked: bool,
}

/// The call's usage.
pub(super) fn usage(state: &mut State, ending: Ending) -> Final {
    let settled = match std::mem::replace(&mut state.meter, Seat::Lost) {
        Seat::Here(meter) => Some(catch_unwind(AssertUnwindSafe(|| meter.settle_and_check(ending)))),
        Seat::Away | Seat::Lost => None,
    };
    let panicked = matches!(settled, Some(Err(_)));
    let (mut usage, mut checks) = match settled {
        Some(Ok(settled)) => settled,
        Some(Err(_)) | None => (without_meter(&state.draft, ending), Checks::default()),
    };
    add_facts(&mut usage, state.facts);
    if state.facts.unsent {
        checks = Checks::default(); // its numbers are no rule's
    }
    Final { usage, checks, panicked }
}

/// What can be said of a call whose meter failed: that it was, and how it ended.
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

fn add_facts(usage: &mut Usage, facts: Facts) {
    usage.timing.upstream_headers_ms = facts.headers.map(millis);
    usage.timing.first_token_ms = facts.first_token.map(millis);
    usage.timing.duration_ms = Some(millis(facts.end));
    if let Some(status) = facts.status.filter(|_| facts.own_status || usage.request.status == 0) {
        usage.request.status = status.as_u16();
    }
    if facts.unsent {
        usage.tokens = Tokens { input: Some(0), output: Some(0), ..Tokens::default() };
        let accounting = &mut usage.accounting;
        (accounting.input_source, accounting.output_source) = (Source::Computed, Source::Computed);
        (accounting.input_quality, accounting.output_quality) = (Quality::Exact, Quality::Exact);
        (accounting.computed_input, accounting.computed_output) = (Some(0), Some(0));
        // Of the numbers nothing else is to be said; of the path it still is.
        accounting.reasons.retain(|reason| Reason::OddPath.is_in(reason));
        accounting.add_reason(Side::Input, Reason::NotBilled);
        accounting.add_reason(Side::Output, Reason::NotBilled);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Gives the event to the ledger, or to the sums if it had no place there.
pub(super) fn hand_over(
    accounts: &Accounts,
    opened: Option<OpenCall>,
    id: Uuid,
    usage: Usage,
    time: Timestamp,
) {
    accounts.models.learn(&usage);
    let settled = Settled { id, time, usage };
    let counters = &accounts.counters;
    match opened {
        Some(opened) => {
            accounts.observer.settled(&settled);
            opened.settle(settled);
            counters.calls_settled.fetch_add(1, Ordering::AcqRel);
        }
        None => {
            accounts.observer.summed(&settled);
            counters.calls_summed.fetch_add(1, Ordering::AcqRel);
        }
    }
}
