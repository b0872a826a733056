//! The number of a response's tokens, and how sure it is.

use crate::prompt::{Bill, BillPart};
use crate::usage::{Reason, RuleClass};

/// A computed number and why it is not exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Computed {
    pub(crate) tokens: Option<u64>,
    /// The part that the service streamed as reasoning, where it does.
    pub(crate) reasoning: Option<u64>,
    /// Without the side.
    pub(crate) reasons: Vec<Reason>,
    /// The truth is this or more, by the nature of the model.
    pub(crate) lower_bound: bool,
    /// The rules that made it; `None` if there is no number.
    pub(crate) class: Option<RuleClass>,
    /// The parts that it is the sum of.
    pub(crate) parts: Vec<BillPart>,
}

impl Computed {
    /// No tokens, of an API whose responses have none.
    pub(crate) fn nothing() -> Computed {
        Computed { tokens: Some(0), class: Some(RuleClass::Embeddings), ..Computed::default() }
    }

    pub(crate) fn because(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The number is the sum of `bill`.
    pub(super) fn charge(&mut self, bill: Bill, class: RuleClass) {
        self.tokens = Some(bill.total());
        self.class = Some(class);
        self.parts = bill.into_parts();
    }
}
