//! The number of a prompt's tokens, and how sure it is.

use super::bill::{Bill, BillPart};
use crate::usage::{Reason, RuleClass};

/// The count of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCount {
    /// Its tokens; `None` if the rules say nothing.
    pub tokens: Option<u64>,
    /// Why the number is not exact.
    pub reasons: Vec<Reason>,
    /// The rules that made it; `None` if there is no number.
    pub class: Option<RuleClass>,
    /// The parts that it is the sum of.
    pub parts: Vec<BillPart>,
}

impl PromptCount {
    pub(super) fn unknown(reason: Reason) -> PromptCount {
        PromptCount { reasons: vec![reason], ..PromptCount::default() }
    }

    pub(super) fn of(bill: Bill, class: RuleClass, reasons: Vec<Reason>) -> PromptCount {
        PromptCount { tokens: Some(bill.total()), reasons, class: Some(class), parts: bill.into_parts() }
    }
}
